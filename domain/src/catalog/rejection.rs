//! Why a change of the catalog was refused, with a stable code for each reason.

use crate::session::RejectionKind;

/// A refused change. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogRejection {
    /// Only admins change the catalog.
    #[error("only admins may change providers, models and prices")]
    NotAllowed,
    /// No such provider.
    #[error("there is no provider called {0:?}")]
    ProviderNotFound(String),
    /// No such model.
    #[error("there is no model called {0:?}")]
    ModelNotFound(String),
    /// The name is taken.
    #[error("provider {0:?}: there is another provider of this name")]
    ProviderExists(String),
    /// The name is taken.
    #[error(
        "model {model:?} of provider {provider:?}: provider {by:?} already has a model of this name"
    )]
    ModelExists {
        /// The model.
        model: String,
        /// Its provider.
        provider: String,
        /// The provider of the model that has the name.
        by: String,
    },
    /// A provider that can't be.
    #[error("provider {provider:?}: {problem}")]
    InvalidProvider {
        /// Its name.
        provider: String,
        /// The field at fault.
        field: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A model that can't be.
    #[error("model {model:?} of provider {provider:?}: {problem}")]
    InvalidModel {
        /// Its provider's name.
        provider: String,
        /// Its name.
        model: String,
        /// The field at fault.
        field: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A price that can't be.
    #[error("price of model {model:?} for service {service:?}: {problem}")]
    InvalidPrice {
        /// The service.
        service: String,
        /// The model.
        model: String,
        /// The field at fault.
        field: &'static str,
        /// What is wrong.
        problem: String,
    },
}

impl CatalogRejection {
    /// The stable code, as in error answers.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAllowed => "admin_only",
            Self::ProviderNotFound(_) => "provider_not_found",
            Self::ModelNotFound(_) => "model_not_found",
            Self::ProviderExists(_) => "provider_exists",
            Self::ModelExists { .. } => "model_exists",
            Self::InvalidProvider { .. } => "invalid_provider",
            Self::InvalidModel { .. } => "invalid_model",
            Self::InvalidPrice { .. } => "invalid_price",
        }
    }

    /// What sort of refusal it is.
    pub fn kind(&self) -> RejectionKind {
        match self {
            Self::NotAllowed => RejectionKind::Forbidden,
            Self::ProviderNotFound(_) | Self::ModelNotFound(_) => RejectionKind::NotFound,
            Self::ProviderExists(_) | Self::ModelExists { .. } => RejectionKind::Conflict,
            Self::InvalidProvider { .. }
            | Self::InvalidModel { .. }
            | Self::InvalidPrice { .. } => RejectionKind::Invalid,
        }
    }

    /// The request's field that is at fault, where it is one.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::NotAllowed => None,
            Self::ProviderNotFound(_) => Some("provider"),
            Self::ModelNotFound(_) => Some("model"),
            Self::ProviderExists(_) | Self::ModelExists { .. } => Some("name"),
            Self::InvalidProvider { field, .. }
            | Self::InvalidModel { field, .. }
            | Self::InvalidPrice { field, .. } => Some(field),
        }
    }
}
