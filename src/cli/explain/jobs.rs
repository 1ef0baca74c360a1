//! What the request has to do with a job.

use serde::Serialize;

use crate::config::values::Period;
use crate::policy::JobRole;
use crate::proxy::asked::Asked;

/// A part in a job.
#[derive(Debug, Serialize)]
pub(super) struct JobReport {
    /// The kind.
    pub(super) job: String,
    /// `start` or `status`.
    pub(super) role: &'static str,
    /// Of a status: which job; null where what stands in its place can be no id.
    pub(super) id: Option<String>,
    /// Whose permit a job keeps.
    pub(super) holds: Option<String>,
    /// After which it is over whatever it says.
    pub(super) lease: String,
}

impl JobReport {
    /// `None` for a request that neither starts a job nor asks for one.
    pub(super) fn of(asked: &Asked) -> Option<Self> {
        let (job, role) = match asked.route().job.as_ref()? {
            JobRole::Start(job) if !asked.parts.method.is_safe() => (job, "start"),
            JobRole::Status(job) if asked.parts.method.is_safe() => (job, "status"),
            JobRole::Start(_) | JobRole::Status(_) => return None,
        };
        let id = || job.id_of(asked.capture(&job.capture)?);
        Some(Self {
            job: job.spec.name.to_string(),
            role,
            id: if role == "status" { id() } else { None },
            holds: job.spec.holds.as_deref().map(str::to_owned),
            lease: Period(job.spec.lease).to_string(),
        })
    }

    /// What that means, in one line.
    pub(super) fn meaning(&self) -> String {
        match (self.role, &self.id, &self.holds) {
            ("start", _, Some(pool)) => {
                format!(
                    "a 2xx starts one: it keeps its permit of {pool} until it is done, at most {}",
                    self.lease
                )
            }
            ("start", ..) => format!("a 2xx starts one, for {} at most", self.lease),
            (_, Some(id), _) => format!("tells how {id} is: when to ask again, and whether it is done"),
            (_, None, _) => "no id that can be one stands where the job's should".to_owned(),
        }
    }
}
