//! To whom a command sends: a role, every role whose name begins so, or a service; everywhere or in one place.

use clap::Args;
use rolecast::{Channel, MemberInfo, Node, RoleName};

use crate::failure::Failure;
use crate::human;
use crate::nearest::nearest;

/// Which of the holders a command means.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Which holders")]
pub(crate) struct PlaceOptions {
    /// Only holders in this site
    #[arg(long, value_name = "SITE")]
    in_site: Option<String>,
    /// Only holders on this host
    #[arg(long, value_name = "HOST")]
    on_host: Option<String>,
    /// ROLE names a service, such as db: send to its nodes
    #[arg(long)]
    of_service: bool,
    /// Only this one of the service's nodes on each host
    #[arg(long, value_name = "N", requires = "of_service")]
    of_instance: Option<u32>,
    /// A holder in this site if there is one, and one elsewhere if not
    #[arg(long, value_name = "SITE")]
    prefer_site: Option<String>,
}

/// To whom a command sends.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    /// The role, the pattern, or the service as it was named.
    name: String,
    place: PlaceOptions,
}

impl Address {
    /// Checks what a command was told.
    pub(crate) fn parse(name: &str, place: PlaceOptions) -> Result<Self, Failure> {
        let texts = [&place.in_site, &place.on_host, &place.prefer_site];
        let texts = texts.into_iter().flatten().map(String::as_str);
        let service = place.of_service.then_some(name);
        if let Some(long) = texts
            .chain(service)
            .find(|text| text.len() > TEXT_BYTES_MAX)
        {
            return Err(Failure::usage(format!(
                "sites, hosts and services have at most {TEXT_BYTES_MAX} bytes, and this one has {}",
                long.len()
            )));
        }
        if service.is_some_and(str::is_empty) {
            return Err(Failure::usage("a service's name cannot be empty"));
        }
        if !place.of_service {
            RoleName::address(name).map_err(|error| Failure::usage(error.to_string()))?;
        }
        let name = name.to_owned();
        Ok(Address { name, place })
    }

    /// Every node.
    pub(crate) fn everyone() -> Self {
        Address {
            name: RoleName::everyone().to_string(),
            place: PlaceOptions::default(),
        }
    }

    /// Whether what is sent goes to several roles, each in an order of its own.
    pub(crate) fn is_pattern(&self) -> bool {
        !self.place.of_service && self.name.ends_with('*') && self.name != "*"
    }

    /// Whether one holder is preferred to another.
    pub(crate) fn has_preference(&self) -> bool {
        self.place.prefer_site.is_some()
    }

    /// The channel to send over.
    pub(crate) fn channel(&self, node: &Node) -> Channel {
        let mut channel = match self.place.of_service {
            true => node.service(&self.name),
            false => node.channel(&self.name),
        };
        if let Some(site) = &self.place.in_site {
            channel = channel.in_site(site);
        }
        if let Some(host) = &self.place.on_host {
            channel = channel.on_host(host);
        }
        if let Some(instance) = self.place.of_instance {
            channel = channel.instance(instance);
        }
        match &self.place.prefer_site {
            Some(site) => channel.prefer_site(site),
            None => channel,
        }
    }

    /// Whether a member is among those that are meant.
    pub(crate) fn means(&self, member: &MemberInfo) -> bool {
        let place = &self.place;
        let is = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|w| w == is);
        let instance = place.of_instance;
        self.is_held_by(member)
            && is(&place.in_site, &member.site)
            && is(&place.on_host, &member.host)
            && instance.is_none_or(|instance| instance == member.service.instance)
    }

    /// Whether a member holds the role, wherever it is.
    fn is_held_by(&self, member: &MemberInfo) -> bool {
        if self.place.of_service {
            return member.takes_service && member.service.name == self.name;
        }
        if self.is_everyone() {
            return true;
        }
        match self.name.strip_suffix('*') {
            Some(prefix) => {
                let mut roles = member.roles.iter();
                roles.any(|role| role.as_str().starts_with(prefix))
            }
            None => member.holds(&self.name),
        }
    }

    fn is_everyone(&self) -> bool {
        !self.place.of_service && self.name == "*"
    }

    /// Says why nobody is found among these.
    pub(crate) fn nobody(&self, members: &[MemberInfo]) -> Failure {
        let name = &self.name;
        let what = match (self.place.of_service, self.is_pattern()) {
            (true, _) => format!("takes what is sent to the service {name}"),
            (false, true) => format!("holds a role that matches {name}"),
            (false, false) => format!("holds the role {name}"),
        };
        let elsewhere = members
            .iter()
            .filter(|member| self.is_held_by(member))
            .count();
        let mesh = human::number_of(members.len(), "node");
        if elsewhere > 0 {
            let those = human::number_of(elsewhere, "node");
            return Failure::failed(format!(
                "no node there {what}, though {those} elsewhere in this mesh of {mesh} would do; `rolecast members` shows who is where"
            ));
        }
        Failure::failed(format!(
            "no node {what} in this mesh of {mesh}; {}",
            self.hint(members)
        ))
    }

    fn hint(&self, members: &[MemberInfo]) -> String {
        let name = &self.name;
        if self.place.of_service {
            return format!("`rolecast listen --own-service --service {name}` would");
        }
        if self.is_pattern() {
            return "`rolecast members` shows the roles".to_owned();
        }
        let known = members.iter().flat_map(|member| &member.roles);
        match nearest(name, known.map(|role| role.as_str())) {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("`rolecast listen {name}` would hold it"),
        }
    }
}

/// The longest site, host or service.
const TEXT_BYTES_MAX: usize = 256;
