use super::fault::DatabaseFault;

/// What a log is opened for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogUse {
    /// A broker, which continues what is there. From a copy of its data directory, which no order adopts, the log is only
    /// read.
    Serve,
    /// A broker in read-only mode, which claims nothing.
    Look,
    /// One of several writers, each from a data directory of its own. No configuration leads to it.
    Share,
    /// A move to the database, which continues what an earlier one left.
    TakeBack,
    /// A move to files: after a close nothing is continued here.
    MoveAway,
}

/// The data directory that uses a log. The head of the ledger names the one whose broker has claimed it, so that a
/// copy of that directory claims nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Claimant {
    /// The mark of the directory's lock file (`store::lock_mark`).
    pub lock: u64,
    /// Whether an operator has ordered to adopt this directory.
    pub is_adopted: bool,
}

impl Claimant {
    /// Whether it may claim a ledger that the directory `owner` has claimed.
    pub(super) fn may_claim(self, owner: Option<u64>) -> bool {
        self.is_adopted || owner.is_none_or(|owner| owner == self.lock)
    }
}

/// Where the ledger of a database is continued.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum HeadState {
    /// In the database.
    Here,
    /// In files.
    InFiles,
    /// In files, until a move to the database is complete.
    Arriving,
}

impl HeadState {
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Here => 0,
            Self::InFiles => 1,
            Self::Arriving => 2,
        }
    }

    pub(super) fn of_number(number: &str) -> Result<Self, DatabaseFault> {
        match number {
            "0" => Ok(Self::Here),
            "1" => Ok(Self::InFiles),
            "2" => Ok(Self::Arriving),
            _ => Err(DatabaseFault::Unusable(
                "the state of the ledger in the database is not known".to_owned(),
            )),
        }
    }
}

impl LogUse {
    /// The state while a claim lasts, after `state` was found, with so many entries; why there is no claim otherwise.
    pub(super) fn begins_with(self, state: HeadState, entries: u64) -> Result<HeadState, &'static str> {
        match (self, state) {
            (Self::Serve | Self::Look | Self::Share | Self::MoveAway, HeadState::Here) => Ok(HeadState::Here),
            // The move was complete, and only the data directory does not say so yet.
            (Self::MoveAway, HeadState::InFiles) => Ok(HeadState::InFiles),
            (Self::Serve | Self::Look | Self::Share, HeadState::InFiles) => Err(
                "the ledger was moved from the database to files: set `engine = \"files\"` in `[ledger]`, or move it back by \
                 `keyward ledger move --to postgresql`",
            ),
            (Self::Serve | Self::Look | Self::Share | Self::MoveAway, HeadState::Arriving) => Err(
                "a move of the ledger to the database was interrupted: repeat `keyward ledger move --to postgresql`",
            ),
            // The move was complete, and only the files were not put aside yet.
            (Self::TakeBack, HeadState::Here) if entries > 0 => Ok(HeadState::Here),
            (Self::TakeBack, _) => Ok(HeadState::Arriving),
        }
    }

    /// The state after a close in good order.
    pub(super) const fn ends_with(self) -> HeadState {
        match self {
            Self::Serve | Self::Look | Self::Share | Self::TakeBack => HeadState::Here,
            Self::MoveAway => HeadState::InFiles,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_directory_that_has_claimed_or_is_adopted_may_claim() {
        let original = Claimant { lock: 1, is_adopted: false };
        assert!(original.may_claim(None) && original.may_claim(Some(1)));
        assert!(!original.may_claim(Some(2)));
        assert!(Claimant { is_adopted: true, ..original }.may_claim(Some(2)));
    }
}
