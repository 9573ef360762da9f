//! The table of MPIs: methods that SDKs call by name, `mesh.net.environ` and the like (PTP section 7).
//!
//! Rooms register theirs at start; the generic fronts look them up. The table decides who may call what, so that no room
//! forgets to ask.

use std::{collections::HashMap, fmt, sync::Arc};

use futures::future::BoxFuture;
use serde_json::{Map, Value};

use crate::{CallContext, Caller, Code, Refusal, Urn};

/// Who may call an MPI beside local applications (design section 4, "Who may call what").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Local applications only.
    Local,
    /// Members of the node too.
    Member,
    /// Partners and members too.
    Partner,
    /// Anybody.
    Anyone,
}

/// One call of an MPI.
#[derive(Debug)]
pub struct Call {
    /// What the headers say.
    pub context: CallContext,
    /// Who calls.
    pub caller: Caller,
    /// The named arguments, `attachments` among them.
    pub arguments: Map<String, Value>,
}

/// The `content` of the answer, if there is any.
pub type Answer = Result<Option<Value>, Refusal>;

type Handler = Arc<dyn Fn(Call) -> BoxFuture<'static, Answer> + Send + Sync>;

/// A call that somebody takes, under way; or the call itself, which nobody took.
pub type Taken = Result<BoxFuture<'static, Answer>, Call>;

type Other = Arc<dyn Fn(Call) -> Taken + Send + Sync>;

/// All MPIs of this node.
#[derive(Clone, Default)]
pub struct Table {
    methods: HashMap<&'static str, (Access, Handler)>,
    other: Option<Other>,
}

impl Table {
    /// Registers the MPI `name`; the last to register a name has it.
    pub fn register<F, Fut>(&mut self, name: &'static str, access: Access, handler: F)
    where
        F: Fn(Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Answer> + Send + 'static,
    {
        self.methods.insert(name, (access, Arc::new(move |call| Box::pin(handler(call)))));
    }

    /// Has `other` asked for every name that nobody registered. It looks itself at who calls.
    pub fn otherwise(&mut self, other: impl Fn(Call) -> Taken + Send + Sync + 'static) {
        self.other = Some(Arc::new(other));
    }

    /// Whether a room registered the MPI `name`.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.methods.contains_key(name)
    }

    /// Whether strangers may call the MPI `name`.
    #[must_use]
    pub fn is_open(&self, name: &str) -> bool {
        self.methods.get(name).is_some_and(|(access, _)| *access == Access::Anyone)
    }

    /// Calls the MPI `name`.
    ///
    /// # Errors
    /// `E0000000404` for a name that nobody registered (`E0000000617` for another node's call of a service), `E0000000403`
    /// for a stranger and `E0000000614` for anybody else who may not call it; otherwise what the MPI itself refuses.
    pub async fn call(&self, name: &str, call: Call) -> Answer {
        let Some((access, handler)) = self.methods.get(name) else {
            let taken = match &self.other {
                Some(other) => other(call),
                None => Err(call),
            };
            return match taken {
                Ok(answer) => answer.await,
                Err(call) => Err(unknown(name, &call.caller)),
            };
        };
        admit(*access, &call.caller, name)?;
        handler(call).await
    }
}

/// The refusal of a name that nobody registered. A call that another node passed on for a service, which is anything but
/// `mesh.*`, has reached the node and not the service (PTP section 13.1).
fn unknown(name: &str, caller: &Caller) -> Refusal {
    if name.is_empty() {
        return Refusal::of_caller(Code::NOT_FOUND, "the call names no MPI: send mesh-urn");
    }
    // As much of a name as helps whoever sent it.
    let shown: String = name.chars().take(200).collect();
    match caller {
        Caller::Partner(_) if !name.starts_with("mesh.") => {
            Refusal::of_caller(Code::NO_SERVICE, format_args!("this node has no service called {shown}"))
        }
        _ => Refusal::of_caller(Code::NOT_FOUND, format_args!("no MPI is called {shown}")),
    }
}

/// Decides whether `caller` may call an MPI of this `access`.
fn admit(access: Access, caller: &Caller, name: &str) -> Result<(), Refusal> {
    let open = match caller {
        Caller::Local => true,
        Caller::Member { .. } => access != Access::Local,
        Caller::Gateway => false,
        Caller::Partner(_) => matches!(access, Access::Partner | Access::Anyone),
        Caller::Stranger => access == Access::Anyone,
    };
    if open {
        return Ok(());
    }
    Err(match caller {
        Caller::Stranger => Refusal::of_caller(
            Code::UNAUTHORISED,
            format_args!(
                "{name} is not open to strangers: present a certificate that ends in the roots of a route here"
            ),
        ),
        _ => {
            Refusal::of_caller(Code::NOT_PERMITTED, format_args!("{name} is open to this node's own applications only"))
        }
    })
}

/// The MPI that a urn names: `environ.net.mesh.<flag>.<node>.trustbe.cn` is `mesh.net.environ` (PTP section 8.1).
/// A text without the flag and node is taken as the MPI's name itself.
#[must_use]
pub fn name_of_urn(urn: &str) -> String {
    Urn::read(urn).map_or_else(|| urn.to_owned(), |urn| urn.name())
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.methods.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_urn_names_its_mpi() {
        let urn = "environ.net.mesh.0001000000000000000000000000000000000.lx0000000000000.trustbe.cn";
        assert_eq!(name_of_urn(urn), "mesh.net.environ");
        assert_eq!(name_of_urn("mesh.net.environ"), "mesh.net.environ");
    }

    #[tokio::test]
    async fn another_is_asked_for_what_the_rooms_do_not_know_and_for_nothing_else() {
        let mut table = Table::default();
        table.register("mesh.net.environ", Access::Local, |_| async { Ok(Some("room".into())) });
        #[allow(clippy::result_large_err, reason = "it is no error, and is taken apart at once")]
        table.otherwise(|call| match call.context.urn.as_deref() {
            Some("acme.score") => Ok(Box::pin(async { Ok(Some("other".into())) })),
            _ => Err(call),
        });
        for (name, answer) in [("mesh.net.environ", Some("room")), ("acme.score", Some("other")), ("acme.x", None)] {
            let context = CallContext { urn: Some(name.into()), ..CallContext::default() };
            let call = Call { context, caller: Caller::Local, arguments: Map::new() };
            let answered = table.call(name, call).await.map(|content| content.unwrap());
            assert_eq!(
                answered.map_err(|refusal| refusal.code),
                answer.map(Value::from).ok_or(Code::NOT_FOUND),
                "{name}"
            );
        }
        assert!(table.knows("mesh.net.environ") && !table.knows("acme.score"));
    }

    #[tokio::test]
    async fn strangers_and_unknown_names_are_refused_with_their_codes() {
        let mut table = Table::default();
        table.register("mesh.net.environ", Access::Partner, |_| async { Ok(None) });
        let call = |caller| Call { context: CallContext::default(), caller, arguments: Map::new() };
        let code = |answer: Answer| answer.err().map(|r| r.code);
        let member = || Caller::Member { from: [10, 0, 0, 7].into() };
        assert_eq!(code(table.call("mesh.net.environ", call(Caller::Local)).await), None);
        assert_eq!(code(table.call("mesh.net.environ", call(Caller::Stranger)).await), Some(Code::UNAUTHORISED));
        for (name, caller, expected) in [
            ("mesh.no.such", Caller::Local, Code::NOT_FOUND),
            ("acme.no.such", Caller::Local, Code::NOT_FOUND),
            ("mesh.no.such", member(), Code::NOT_FOUND),
            ("acme.no.such", member(), Code::NOT_FOUND),
            ("", member(), Code::NOT_FOUND),
        ] {
            assert_eq!(code(table.call(name, call(caller)).await), Some(expected), "{name}");
        }
    }
}
