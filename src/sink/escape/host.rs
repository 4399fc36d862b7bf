//! The host's own names, for `%[localhost]`, `%[FQDN]` and Kerberos' `_HOST`.

/// The host name, as the kernel knows it.
pub(crate) fn host_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

/// The canonical name that `/etc/hosts` gives this host, else the host name. Java asks the resolver,
/// which begins with the same file.
pub(crate) fn host_fqdn() -> String {
    let name = host_name();
    if name.contains('.') {
        return name;
    }
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    canonical_name(&hosts, &name).unwrap_or(name)
}

fn canonical_name(hosts: &str, name: &str) -> Option<String> {
    hosts
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>())
        .find(|names| names.contains(&name))
        .and_then(|names| names.first().map(|first| (*first).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_name_is_the_first_on_the_line() {
        let hosts = "127.0.0.1 localhost\n10.0.0.7 box.example.com box # us\n";
        assert_eq!(
            canonical_name(hosts, "box").as_deref(),
            Some("box.example.com")
        );
        assert_eq!(canonical_name(hosts, "other"), None);
    }
}
