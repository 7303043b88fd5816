//! The tree on the whole screen, as it changes.

use std::io::Write;
use std::panic::PanicHookInfo;
use std::time::Duration;

use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::{cursor, terminal as screen};
use futures::StreamExt;
use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};

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

/// The screen while the view is on it; given back when it goes, and before a panic is told.
struct Screen;

impl Screen {
    fn take() -> Result<Screen, CliError> {
        std::panic::set_hook(giving_back_first(give_back, std::panic::take_hook()));
        screen::enable_raw_mode()?;
        let screen = Screen;
        crossterm::execute!(std::io::stdout(), screen::EnterAlternateScreen, cursor::Hide)?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
        if !std::thread::panicking() {
            drop(std::panic::take_hook());
        }
    }
}

fn give_back() {
    // There is nobody to tell where the terminal is gone.
    let _ = crossterm::execute!(std::io::stdout(), cursor::Show, screen::LeaveAlternateScreen);
    let _ = screen::disable_raw_mode();
}

type PanicHook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

/// A program that aborts on a panic drops nothing.
fn giving_back_first(give_back: impl Fn() + Send + Sync + 'static, then: PanicHook) -> PanicHook {
    Box::new(move |panic| {
        give_back();
        then(panic);
    })
}

/// The signals that ask a program to end.
struct Ends([(Signal, u8); 3]);

impl Ends {
    fn new() -> Result<Ends, CliError> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(|kind| Ok::<_, CliError>((signal(kind)?, code(kind))));
        Ok(Ends([interrupt?, terminate?, hangup?]))
    }

    /// With what the program is to end.
    async fn recv(&mut self) -> Exit {
        let [(interrupt, interrupted), (terminate, terminated), (hangup, hung_up)] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => Exit(*interrupted),
            _ = terminate.recv() => Exit(*terminated),
            _ = hangup.recv() => Exit(*hung_up),
        }
    }
}

/// As shells tell that a signal ended a program.
fn code(kind: SignalKind) -> u8 {
    u8::try_from(128 + kind.as_raw_value()).unwrap_or(Exit::FAILURE.0)
}

/// What is on the screen.
struct View {
    /// Namespace and name.
    set: String,
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
    let set = &follower.set().metadata;
    let set = [&set.namespace, &set.name].map(|text| text.as_deref().unwrap_or_default()).join("/");
    let mut view = View { set, tree: None, scrolled: 0, interrupted: None, paint };
    let mut ends = Ends::new()?;
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
            exit = ends.recv() => return Ok(exit),
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
        // Each is wiped before it is written: behind one as wide as the screen its last letter would be wiped.
        let mut text = String::from("\x1b[?2026h\x1b[H");
        text += &lines.iter().map(|line| format!("\x1b[K{line}")).collect::<Vec<_>>().join("\r\n");
        text += if lines.len() < height { "\r\n\x1b[J" } else { "" };
        text += "\x1b[?2026l";
        let mut output = std::io::stdout();
        output.write_all(text.as_bytes())?;
        Ok(output.flush()?)
    }

    /// The lines of the screen: as many as it has at most.
    fn frame(&mut self, width: usize, height: usize, now: Timestamp) -> Vec<String> {
        let style = Style { paint: self.paint, width: Some(width), now };
        let reading = || vec![cut("reading …", width)];
        let body = self.tree.as_ref().map_or_else(reading, |tree| table::lines(tree, style));
        let room = height.saturating_sub(2).max(1);
        self.scrolled = self.scrolled.min(body.len().saturating_sub(room));
        let (above, below) = (self.scrolled, body.len().saturating_sub(self.scrolled + room));
        let head = format!("{}  {}", self.set, now.strftime("%H:%M:%SZ"));
        let foot = match (&self.interrupted, above + below) {
            (Some(words), _) => format!("q quits; connection lost, trying again: {}", clean(words)),
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn before_anything_was_read_the_screen_says_how_to_leave_and_what_is_wrong() {
        let mut view =
            View { set: "shop/web".into(), tree: None, scrolled: 0, interrupted: None, paint: Paint::default() };
        let frame = view.frame(80, 24, Timestamp::UNIX_EPOCH);
        assert_eq!(frame.len(), 24);
        assert_eq!((&*frame[0], &*frame[1], &*frame[23]), ("shop/web  00:00:00Z", "reading …", "q quits"));
        view.interrupted = Some("refused".into());
        assert_eq!(view.frame(80, 24, Timestamp::UNIX_EPOCH)[23], "q quits; connection lost, trying again: refused");
    }

    #[test]
    fn a_panic_is_told_on_the_screen_of_the_user() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let note = |what: &'static str| {
            let order = Arc::clone(&order);
            move || order.lock().unwrap().push(what)
        };
        let told = note("told");
        let hook = giving_back_first(note("given back"), Box::new(move |_| told()));
        let before = std::panic::take_hook();
        std::panic::set_hook(hook);
        let outcome = std::panic::catch_unwind(|| panic!("on purpose"));
        std::panic::set_hook(before);
        assert!(outcome.is_err());
        assert_eq!(order.lock().unwrap()[..2], ["given back", "told"]);
    }
}
