//! The tree on the whole screen, as it changes.

use std::io::Write;
use std::time::Duration;

use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::{cursor, terminal as screen};
use futures::StreamExt;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};

use super::table::{self, Style};
use crate::cli::Exit;
use crate::cli::error::CliError;
use crate::cli::follow::{Follower, Step};
use crate::cli::output::clean;
use crate::cli::terminal::{Paint, Tone, cut, size};
use crate::cli::tree::{Tree, tree};

/// How often the screen is drawn at most: changes come in crowds.
const FRAME: Duration = Duration::from_millis(250);
/// How often it is drawn where nothing changes: ages go on.
const FRAMES_UNCHANGED: u32 = 4;

/// The screen while the view is on it; given back when it goes.
struct Screen;

impl Screen {
    fn take() -> Result<Screen, CliError> {
        screen::enable_raw_mode()?;
        let screen = Screen;
        crossterm::execute!(std::io::stdout(), screen::EnterAlternateScreen, cursor::Hide)?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // There is nobody to tell where the terminal is gone.
        let _ = crossterm::execute!(std::io::stdout(), cursor::Show, screen::LeaveAlternateScreen);
        let _ = screen::disable_raw_mode();
    }
}

/// What is on the screen.
struct View {
    tree: Option<Tree>,
    /// Lines that are scrolled away above.
    scrolled: usize,
    /// Why the server cannot be heard.
    interrupted: Option<String>,
    paint: Paint,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Quit,
    /// So many lines down, or up where negative.
    Scroll(isize),
    Nothing,
}

/// Shows the set until q is pressed, or it is deleted.
pub async fn show(mut follower: Follower, paint: Paint) -> Result<Exit, CliError> {
    let mut view = View { tree: None, scrolled: 0, interrupted: None, paint };
    let mut ended = signal(SignalKind::terminate())?;
    let _screen = Screen::take()?;
    let mut keys = EventStream::new();
    let mut frames = tokio::time::interval(FRAME);
    let mut frames_left = 0;
    loop {
        tokio::select! {
            _ = frames.tick() => {
                if frames_left > 0 {
                    frames_left -= 1;
                    continue;
                }
                frames_left = FRAMES_UNCHANGED - 1;
                view.tree = follower.picture().map(|picture| tree(&picture, Timestamp::now())).or(view.tree);
                view.draw()?;
            }
            event = keys.next() => match event {
                Some(Ok(Event::Key(key))) => match wish(key) {
                    Wish::Quit => return Ok(Exit::SUCCESS),
                    Wish::Scroll(lines) => {
                        view.scrolled = view.scrolled.saturating_add_signed(lines);
                        view.draw()?;
                    }
                    Wish::Nothing => {}
                },
                Some(Ok(_)) => view.draw()?,
                // Nobody can press q any more.
                Some(Err(_)) | None => return Ok(Exit::SUCCESS),
            },
            step = follower.step() => {
                frames_left = 0;
                match step? {
                    Step::Changed => view.interrupted = None,
                    Step::Interrupted(words) => view.interrupted = Some(words),
                    Step::Gone => return Err(CliError::Failed("object has been deleted".into())),
                }
            }
            _ = ended.recv() => return Ok(Exit::SUCCESS),
        }
    }
}

fn wish(key: KeyEvent) -> Wish {
    if key.kind == KeyEventKind::Release {
        return Wish::Nothing;
    }
    let page = size().map_or(20, |(_, lines)| isize::try_from(lines).unwrap_or(20).saturating_sub(3).max(1));
    match key.code {
        KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => Wish::Quit,
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => Wish::Quit,
        KeyCode::Down | KeyCode::Char('j') => Wish::Scroll(1),
        KeyCode::Up | KeyCode::Char('k') => Wish::Scroll(-1),
        KeyCode::PageDown | KeyCode::Char(' ') => Wish::Scroll(page),
        KeyCode::PageUp | KeyCode::Char('b') => Wish::Scroll(-page),
        KeyCode::Home | KeyCode::Char('g') => Wish::Scroll(isize::MIN),
        KeyCode::End | KeyCode::Char('G') => Wish::Scroll(isize::MAX),
        _ => Wish::Nothing,
    }
}

impl View {
    fn draw(&mut self) -> Result<(), CliError> {
        let (width, height) = size().unwrap_or((80, 24));
        let lines = self.frame(width, height, Timestamp::now());
        // Line by line over what is there, so that nothing flickers.
        let mut text = String::from("\x1b[H");
        text += &lines.iter().map(|line| format!("{line}\x1b[K")).collect::<Vec<_>>().join("\r\n");
        text += "\x1b[J";
        let mut output = std::io::stdout();
        output.write_all(text.as_bytes())?;
        Ok(output.flush()?)
    }

    /// The lines of the screen: as many as it has at most.
    fn frame(&mut self, width: usize, height: usize, now: Timestamp) -> Vec<String> {
        let style = Style { paint: self.paint, width: Some(width), now };
        let Some(tree) = &self.tree else { return vec![cut("reading …", width)] };
        let body = table::lines(tree, style);
        let room = height.saturating_sub(2).max(1);
        self.scrolled = self.scrolled.min(body.len().saturating_sub(room));
        let (above, below) = (self.scrolled, body.len().saturating_sub(self.scrolled + room));
        let head = format!("{}/{}  {}", tree.namespace, tree.name, now.strftime("%H:%M:%SZ"));
        let foot = match (&self.interrupted, above + below) {
            (Some(words), _) => format!("connection lost, trying again: {}", clean(words)),
            (None, 0) => "q quits".to_owned(),
            (None, _) => format!("q quits, arrows scroll: {above} lines above, {below} below"),
        };
        let foot_tone = if self.interrupted.is_some() { Tone::Bad } else { Tone::Faint };
        let mut lines = vec![self.paint.text(Tone::Faint, &cut(&head, width))];
        lines.extend(body.into_iter().skip(above).take(room));
        lines.resize(room + 1, String::new());
        lines.push(self.paint.text(foot_tone, &cut(&foot, width)));
        lines.truncate(height);
        lines
    }
}
