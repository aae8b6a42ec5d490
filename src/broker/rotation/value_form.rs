//! Values of the form that the upstream of a rotation needs.

use std::sync::Arc;

use super::context::{RotationContext, Step};
use super::declare::declared;
use crate::authn::OperatorPrincipal;
use crate::base::{SecretName, code};
use crate::broker::administration::heavy::{HeavyRequest, Priority};
use crate::broker::changes::Initiator;
use crate::broker::declarations::sections::parse_tables;
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::config::{Faults, SourceFile, SourcePosition};
use crate::registry::ForeignNames;
use crate::rotation::{self, Rotation, RotationDeclaration};
use crate::secrets::SecretValue;
use crate::upstream::{Driver, stored_driver};

/// Checks that `value` has the form that the upstream of `rotation` needs.
///
/// # Errors
/// [`Failure`] that names the form.
pub(in crate::broker) fn check_form(rotation: &Rotation, value: &SecretValue) -> Result<(), Failure> {
    let Ok(driver) = stored_driver(&rotation.declared.upstream) else { return Ok(()) };
    let name = &rotation.declared.secret;
    match missing_form(&*driver, value) {
        None => Ok(()),
        Some(form) => Err(Failure::new(code::ROTATED_VALUE_INVALID)
            .because(format!("the rotation of `{name}` needs {form}; nothing was stored"))),
    }
}

/// The form that `value` lacks.
fn missing_form(driver: &dyn Driver, value: &SecretValue) -> Option<String> {
    driver.value_form().filter(|_| !driver.has_form(value))
}

/// A rotation in declaration files whose secret has a value that has to be of a form.
struct FormToCheck {
    at: RotationContext,
    place: SourcePosition,
}

impl Services {
    /// Checks the values of the secrets to which `files` give a rotation whose values have a form. Each value that is opened
    /// for this has an entry.
    ///
    /// # Errors
    /// [`Failure`] with the places of the rotations whose secrets have a value of another form.
    pub(in crate::broker) async fn check_forms(
        self: &Arc<Self>,
        by: &OperatorPrincipal,
        heavy: &HeavyRequest,
        files: &Arc<impl AsRef<[SourceFile]> + Send + Sync + 'static>,
    ) -> Result<(), Failure> {
        if !(**files).as_ref().iter().any(|file| file.text.contains("rotation")) {
            return Ok(());
        }
        let (services, operator, read) = (Arc::clone(self), by.clone(), Arc::clone(files));
        let needed = heavy.run(Priority::Ordinary, move |work| {
            let asked = rotation::parse(&mut parse_tables((*read).as_ref(), work)?)?;
            let needed =
                asked.iter().filter_map(|(secret, asked)| services.form_to_check(&operator, secret, asked));
            Ok::<Vec<FormToCheck>, Failure>(needed.collect())
        });
        let mut wrong = Vec::new();
        for FormToCheck { at, place } in needed.await? {
            let opened = self.open_values(&at, Initiator::Operator(by), Step::Check, &at.current()).await;
            // The removals of an application do not wait for a disk, and a rotation checks the form again.
            let Ok(opened) = opened else { continue };
            let form = opened.values.first().and_then(|value| missing_form(&*at.driver, value));
            wrong.extend(form.map(|form| (place, of_another_form(at.name(), &form))));
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let files = Arc::clone(files);
        let told = heavy.run(Priority::Low, move |work| {
            let mut faults = Faults::of((*files).as_ref(), work);
            wrong.into_iter().for_each(|(place, message)| faults.tell(place, message));
            faults.or(()).map_err(Failure::from)
        });
        told.await
    }

    /// The rotation of `secret`, if it is new or has another upstream, the secret has a value, and its values have a form. A
    /// declaration with faults is refused later.
    fn form_to_check(
        &self,
        by: &OperatorPrincipal,
        secret: &SecretName,
        asked: &RotationDeclaration,
    ) -> Option<FormToCheck> {
        let at = self.context_of(|reading| {
            let unknown = || Failure::new(code::ROTATION_UNKNOWN);
            let (world, scope) = (reading.unconditional(), by.scope());
            let declared =
                declared(world, scope, secret, asked, ForeignNames::Hidden).map_err(|_| unknown())?;
            let known = reading.rotation(secret);
            let is_new = known.is_none_or(|known| known.declared.upstream != declared.upstream);
            if is_new { Ok(Rotation::fresh(declared, None)) } else { Err(unknown()) }
        });
        let mut at = at.ok()?;
        at.administering = None;
        let needs_form = !at.current().is_empty() && at.driver.value_form().is_some();
        needs_form.then_some(FormToCheck { at, place: asked.place })
    }
}

fn of_another_form(secret: &SecretName, form: &str) -> String {
    format!(
        "the current value of secret `{secret}` has another form: this rotation needs {form}; store such a value first \
         (`keyward secret put {secret}`)"
    )
}
