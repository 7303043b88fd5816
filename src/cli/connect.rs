//! From flags and kubeconfig to a client, as kubectl does it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgAction, Args};
use http::{HeaderValue, Uri, header};
use kube::config::KubeconfigError::{CurrentContextNotSet, FindPath, ReadConfig};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::error::CliError;
use super::proxy;
use super::truth::Truth;

/// The flags of kubectl that say which cluster, and who asks.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionFlags {
    /// Kubeconfig file; else those that KUBECONFIG names, else ~/.kube/config, else the Pod's own service account
    #[arg(long, value_name = "FILE", global = true)]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME", global = true)]
    pub context: Option<String>,
    /// Cluster of the kubeconfig
    #[arg(long, value_name = "NAME", global = true)]
    pub cluster: Option<String>,
    /// User of the kubeconfig
    #[arg(long, value_name = "NAME", global = true)]
    pub user: Option<String>,
    /// Namespace to work in
    #[arg(short, long, value_name = "NAME", global = true)]
    pub namespace: Option<String>,
    /// Address of the apiserver
    #[arg(short, long, value_name = "URL", global = true)]
    pub server: Option<String>,
    /// Proxy between here and the apiserver: http://…, https://… or socks5://…
    #[arg(long, value_name = "URL", global = true)]
    pub proxy_url: Option<String>,
    /// File with the certificates that the apiserver's is checked by
    #[arg(long, value_name = "FILE", global = true)]
    pub certificate_authority: Option<PathBuf>,
    /// Do not check the apiserver's certificate
    #[arg(
        long, value_name = "BOOL", value_parser = Truth, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true",
        require_equals = true, global = true
    )]
    pub insecure_skip_tls_verify: Option<bool>,
    /// Name to expect in the apiserver's certificate
    #[arg(long, value_name = "NAME", global = true)]
    pub tls_server_name: Option<String>,
    /// File with the certificate to show the apiserver
    #[arg(long, value_name = "FILE", global = true)]
    pub client_certificate: Option<PathBuf>,
    /// File with the key of that certificate
    #[arg(long, value_name = "FILE", global = true)]
    pub client_key: Option<PathBuf>,
    /// Bearer token
    #[arg(long, value_name = "TOKEN", global = true)]
    pub token: Option<String>,
    /// Name for basic authentication
    #[arg(long, value_name = "NAME", global = true)]
    pub username: Option<String>,
    /// Password for basic authentication
    #[arg(long, value_name = "PASSWORD", global = true)]
    pub password: Option<String>,
    /// User to act as
    #[arg(long = "as", value_name = "NAME", global = true)]
    pub impersonate: Option<String>,
    /// Group to act as; may be given many times
    #[arg(long = "as-group", value_name = "NAME", global = true)]
    pub impersonate_groups: Vec<String>,
    /// UID to act as
    #[arg(long = "as-uid", value_name = "UID", global = true)]
    pub impersonate_uid: Option<String>,
    /// Further fact of the user to act as; may be given many times
    #[arg(long = "as-user-extra", value_name = "KEY=VALUE", global = true, value_parser = key_and_value)]
    pub impersonate_extra: Vec<(String, String)>,
    /// How long one request may take, such as 30s; 0 waits for ever
    #[arg(long, value_name = "TIME", global = true, value_parser = crate::duration::parse)]
    pub request_timeout: Option<Duration>,
}

/// A connection to one cluster, and the namespace to work in.
#[derive(Clone)]
pub struct Session {
    pub client: Client,
    pub namespace: String,
    /// It was given by a flag: objects of another are refused.
    pub namespace_is_given: bool,
}

impl ConnectionFlags {
    /// Connects. Nothing is asked of the apiserver yet.
    pub async fn session(&self) -> Result<Session, CliError> {
        let mut config = self.config().await?;
        self.put_into(&mut config)?;
        let agent = concat!("kubectl-asts/", env!("CARGO_PKG_VERSION"));
        config.headers.push((header::USER_AGENT, HeaderValue::from_static(agent)));
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let namespace = super::target::checked(&namespace)?;
        let client = Client::try_from(config).map_err(|error| CliError::Client(Box::new(error)))?;
        Ok(Session { client, namespace, namespace_is_given: self.namespace.is_some() })
    }

    /// What was found in a kubeconfig or a Pod. A server that is named needs neither, as with kubectl.
    async fn config(&self) -> Result<Config, CliError> {
        let options =
            KubeConfigOptions { context: self.context.clone(), cluster: self.cluster.clone(), user: self.user.clone() };
        let wrong = |error| CliError::Kubeconfig(Box::new(error));
        let found = match &self.kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path).map_err(wrong)?;
                Config::from_custom_kubeconfig(file, &options).await
            }
            None => Config::from_kubeconfig(&options).await,
        };
        let error = match found {
            Ok(config) => return Ok(config),
            Err(error) => error,
        };
        // Only where nobody asked for a part of a kubeconfig, and none is there that has a mistake in it.
        let asked = self.context.is_some() || self.cluster.is_some() || self.user.is_some();
        let none = matches!(error, ReadConfig(..) | FindPath | CurrentContextNotSet);
        match (Config::incluster(), &self.server) {
            (Ok(config), _) if !asked && self.kubeconfig.is_none() => Ok(config),
            (_, Some(server)) if !asked && none => Ok(Config::new(uri("--server", server)?)),
            _ => Err(wrong(error)),
        }
    }

    /// Puts what the flags say in the place of what was found.
    fn put_into(&self, config: &mut Config) -> Result<(), CliError> {
        if let Some(file) = &self.certificate_authority {
            config.root_cert = None;
            config.root_cert_file = Some(pem("--certificate-authority", file, "CERTIFICATE")?);
            config.accept_invalid_certs = false;
        }
        if let Some(insecure) = self.insecure_skip_tls_verify {
            config.accept_invalid_certs = insecure;
        }
        if self.tls_server_name.is_some() {
            config.tls_server_name = self.tls_server_name.clone();
        }
        if let Some(timeout) = self.request_timeout {
            config.read_timeout = (!timeout.is_zero()).then_some(timeout);
        }
        self.put_user_into(&mut config.auth_info)?;
        if let Some(server) = &self.server {
            let is_tls = config.root_cert.is_some() || config.root_cert_file.is_some() || config.accept_invalid_certs;
            let scheme = if is_tls || config.auth_info.client_certificate.is_some() { "https" } else { "http" };
            let server = if server.contains("://") { server.clone() } else { format!("{scheme}://{server}") };
            config.cluster_url = uri("--server", &server)?;
        }
        config.proxy_url = match &self.proxy_url {
            Some(address) => proxy::with_scheme(uri("--proxy-url", address)?),
            None => proxy::put_right(&config.cluster_url, config.proxy_url.take()),
        };
        Ok(())
    }

    fn put_user_into(&self, user: &mut AuthInfo) -> Result<(), CliError> {
        if let Some(file) = &self.client_certificate {
            user.client_certificate = Some(pem("--client-certificate", file, "CERTIFICATE")?.display().to_string());
            user.client_certificate_data = None;
        }
        if let Some(file) = &self.client_key {
            user.client_key = Some(pem("--client-key", file, "PRIVATE KEY")?.display().to_string());
            user.client_key_data = None;
        }
        let certificate = user.client_certificate.is_some() || user.client_certificate_data.is_some();
        let key = user.client_key.is_some() || user.client_key_data.is_some();
        if certificate != key && (self.client_certificate.is_some() || self.client_key.is_some()) {
            let message = "--client-certificate and --client-key go together: neither is of use alone";
            return Err(CliError::Usage(message.into()));
        }
        if let Some(token) = &self.token {
            user.token = Some(token.clone().into());
            // Each would go before a token.
            (user.auth_provider, user.username, user.password) = (None, None, None);
        }
        if self.username.is_some() {
            user.username = self.username.clone();
            user.auth_provider = None;
        }
        if let Some(password) = &self.password {
            user.password = Some(password.clone().into());
        }
        if self.impersonate.is_some() {
            user.impersonate = self.impersonate.clone();
        }
        if !self.impersonate_groups.is_empty() {
            user.impersonate_groups = Some(self.impersonate_groups.clone());
        }
        if self.impersonate_uid.is_some() {
            user.impersonate_uid = self.impersonate_uid.clone();
        }
        if !self.impersonate_extra.is_empty() {
            let mut extra: HashMap<String, Vec<String>> = HashMap::new();
            for (key, value) in &self.impersonate_extra {
                extra.entry(key.clone()).or_default().push(value.clone());
            }
            user.impersonate_user_extra = Some(extra);
        }
        Ok(())
    }
}

fn uri(flag: &'static str, text: &str) -> Result<Uri, CliError> {
    text.parse().map_err(|error: http::uri::InvalidUri| CliError::Flag { flag, message: format!("{text:?}: {error}") })
}

/// A file that has a thing of this kind in it. What is wrong with it otherwise, the client says without naming it.
fn pem(flag: &'static str, file: &Path, kind: &str) -> Result<PathBuf, CliError> {
    let wrong = |message: String| CliError::Flag { flag, message };
    let text = std::fs::read(file).map_err(|error| wrong(format!("cannot read {}: {error}", file.display())))?;
    let (begins, ends) = ("-----BEGIN ", format!("{kind}-----"));
    let text = String::from_utf8_lossy(&text);
    if text.lines().any(|line| line.starts_with(begins) && line.trim_end().ends_with(&ends)) {
        return Ok(file.to_owned());
    }
    Err(wrong(format!("there is no {} in PEM form in {}", kind.to_lowercase(), file.display())))
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is no KEY=VALUE")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Call {
        #[command(flatten)]
        flags: ConnectionFlags,
    }

    fn flags(words: &[&str]) -> ConnectionFlags {
        Call::try_parse_from([&["x"], words].concat()).unwrap().flags
    }

    fn config() -> Config {
        let mut config = Config::new("https://old:6443".parse().unwrap());
        config.root_cert = Some(vec![b"old".to_vec()]);
        config.auth_info.client_certificate_data = Some("old".into());
        config.auth_info.client_key_data = Some("old".to_owned().into());
        config
    }

    fn with(words: &[&str]) -> Result<Config, String> {
        let mut config = config();
        flags(words).put_into(&mut config).map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn certificates_of_flags_take_the_place_of_those_found() {
        let file = std::env::temp_dir().join(format!("asts-certificate-{}", std::process::id()));
        std::fs::write(&file, "about it\n-----BEGIN CERTIFICATE-----\n").unwrap();
        let file = file.to_str().unwrap();
        let config = with(&["--certificate-authority", file, "--client-certificate", file]).unwrap();
        assert_eq!((config.root_cert, config.root_cert_file), (None, Some(file.into())));
        assert_eq!(config.auth_info.client_certificate.as_deref(), Some(file));
        assert!(config.auth_info.client_certificate_data.is_none() && config.auth_info.client_key_data.is_some());
        let missing = with(&["--client-key=/no/such/file"]).unwrap_err();
        assert!(missing.starts_with("--client-key: cannot read /no/such/file: "), "{missing}");
        let other = with(&["--client-key", file]).unwrap_err();
        assert_eq!(other, format!("--client-key: there is no private key in PEM form in {file}"));
        let mut bare = Config::new("https://old".parse().unwrap());
        let alone = flags(&["--client-certificate", file]).put_into(&mut bare).unwrap_err();
        assert!(alone.to_string().contains("go together"), "{alone}");
    }

    #[test]
    fn a_server_without_a_scheme_is_taken_as_kubectl_takes_it() {
        let url = |words: &[&str], mut config: Config| {
            flags(words).put_into(&mut config).map(|()| config.cluster_url.to_string()).map_err(|it| it.to_string())
        };
        let bare = || Config::new("http://old".parse().unwrap());
        assert_eq!(url(&["-s", "here:1"], bare()).unwrap(), "http://here:1/");
        assert_eq!(url(&["-s", "here:1"], config()).unwrap(), "https://here:1/");
        assert_eq!(url(&["-s", "here:1", "--insecure-skip-tls-verify"], bare()).unwrap(), "https://here:1/");
        assert_eq!(url(&["-s", "https://here"], bare()).unwrap(), "https://here/");
        assert!(url(&["-s", "http://a b"], bare()).unwrap_err().starts_with("--server: \"http://a b\": "));
    }

    #[test]
    fn whom_to_act_as_is_told_whole() {
        let words = ["--as-user-extra=a=1", "--as-user-extra=a=2", "--as-user-extra", "b=x=y", "--as=me"];
        let extra = with(&words).unwrap().auth_info.impersonate_user_extra.unwrap();
        assert_eq!(extra["a"], ["1", "2"]);
        assert_eq!(extra["b"], ["x=y"]);
        assert!(Call::try_parse_from(["x", "--as-user-extra=a"]).is_err());
    }

    #[test]
    fn a_token_is_not_hidden_by_what_the_kubeconfig_has() {
        let mut config = config();
        config.auth_info.username = Some("old".into());
        config.auth_info.password = Some("old".to_owned().into());
        flags(&["--token=new"]).put_into(&mut config).unwrap();
        assert!(config.auth_info.username.is_none() && config.auth_info.token.is_some());
    }

    #[test]
    fn checking_certificates_can_be_turned_on_again() {
        let mut config = config();
        config.accept_invalid_certs = true;
        flags(&["--insecure-skip-tls-verify=false"]).put_into(&mut config).unwrap();
        assert!(!config.accept_invalid_certs);
    }

    /// The first request of a call with these flags, as a server reads it.
    async fn request(words: &[&str], flag: &str) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let place = format!("{flag}=http://{}", listener.local_addr().unwrap());
        let heard = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; 4096];
            let count = listener.accept().unwrap().0.read(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes[..count]).to_lowercase()
        });
        let session = flags(&[words, &[&place, "--kubeconfig=/dev/null"]].concat()).session().await.unwrap();
        assert!(session.client.apiserver_version().await.is_err(), "there is no answer");
        heard.await.unwrap()
    }

    #[tokio::test]
    async fn what_flags_say_reaches_the_server() {
        let words = ["--as=me", "--as-group=us", "--as-uid=7", "--as-user-extra=reason=test", "--token=secret"];
        let request = request(&words, "--server").await;
        for line in [
            "impersonate-user: me",
            "impersonate-group: us",
            "impersonate-uid: 7",
            "impersonate-extra-reason: test",
            "authorization: bearer secret",
            "user-agent: kubectl-asts/",
        ] {
            assert!(request.contains(line), "{line} in {request}");
        }
        let basic = self::request(&["--username=me", "--password=secret"], "--server").await;
        assert!(basic.contains("authorization: basic bwu6c2vjcmv0"), "{basic}");
    }

    #[tokio::test]
    async fn a_proxy_is_asked_for_the_way_to_the_server() {
        let request = request(&["--server=https://cluster.example:6443"], "--proxy-url").await;
        assert!(request.starts_with("connect cluster.example:6443 http/1.1\r\n"), "{request}");
    }
}
