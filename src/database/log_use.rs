use super::fault::DatabaseFault;

/// What a log is opened for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogUse {
    /// A broker, which continues what is there.
    Serve,
    /// A move to the database, which continues what an earlier one left.
    TakeBack,
    /// A move to files: after a close nothing is continued here.
    MoveAway,
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
            (Self::Serve | Self::MoveAway, HeadState::Here) => Ok(HeadState::Here),
            // The move was complete, and only the data directory does not say so yet.
            (Self::MoveAway, HeadState::InFiles) => Ok(HeadState::InFiles),
            (Self::Serve, HeadState::InFiles) => Err(
                "the ledger was moved from the database to files: set `engine = \"files\"` in `[ledger]`, or move it back by \
                 `keyward ledger move --to postgresql`",
            ),
            (Self::Serve | Self::MoveAway, HeadState::Arriving) => Err(
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
            Self::Serve | Self::TakeBack => HeadState::Here,
            Self::MoveAway => HeadState::InFiles,
        }
    }
}
