//! The GraphQL of ao's clients, as they send it: aoconnect 0.0.98, ao-scheduler-utils 0.0.29, aos 2.0.16 and 1.2.18,
//! the reference messenger, scheduler and compute unit, WeaveDrive, HyperBEAM.

/// aoconnect: is the module one?
pub(crate) const MODULE_CHECK: &str = r#"
    query GetTransactions ($transactionIds: [ID!]!) {
      transactions(ids: $transactionIds) {
        edges {
          node {
            owner {
              address
            }
            tags {
              name
              value
            }
            block {
              id
              height
              timestamp
            }
          }
        }
      }
    }"#;

/// ao-scheduler-utils: the tags of a process, for its scheduler.
pub(crate) const PROCESS_TAGS: &str = r#"
    query GetTransactions ($transactionIds: [ID!]!) {
      transactions(
        ids: $transactionIds
        tags: [
          { name: "Data-Protocol", values: ["ao"] }
        ]
      ) {
        edges {
          node {
            tags {
              name
              value
            }
          }
        }
      }
    }
  "#;

/// ao-scheduler-utils: where a scheduler is.
pub(crate) const SCHEDULER_LOCATION: &str = r#"
    query GetSchedulerLocation ($owner: String!) {
      transactions (
        owners: [$owner]
        tags: [
          { name: "Data-Protocol", values: ["ao"] },
          { name: "Type", values: ["Scheduler-Location"] }
        ]
        # Only need the most recent Scheduler-Location
        sort: HEIGHT_DESC
        first: 1
      ) {
        edges {
          node {
            tags {
              name
              value
            }
          }
        }
      }
    }
  "#;

/// ao-scheduler-utils: a whole process.
pub(crate) const WHOLE_PROCESS: &str = r#"
        query ($ids: [ID!]!) {
        transactions(
          ids: $ids
        ) {
          pageInfo {
            hasNextPage
          }
          edges {
            cursor
            node {
              id
              anchor
              signature
              recipient
              block {
                timestamp
              }
              owner {
                address
                key
              }
              fee {
                winston
                ar
              }
              quantity {
                winston
                ar
              }
              data {
                size
                type
              }
              tags {
                name
                value
              }
              block {
                id
                timestamp
                height
                previous
              }
              parent {
                id
              }
            }
          }
        }
      }
  "#;

/// The messenger: all schedulers.
pub(crate) const ALL_LOCATIONS: &str = r#"
  query GetSchedulerLocations($cursor: String) {
    transactions(
      tags: [
        { name: "Type", values: ["Scheduler-Location"] }
        { name: "Data-Protocol", values: ["ao"] }
      ],
      first: 100
      after: $cursor
    ) {
      edges {
        node {
          id
          owner {
            address
          }
          tags {
            name
            value
          }
          block {
            id
            height
            timestamp
          }
        }
        cursor
      }
      pageInfo {
        hasNextPage
      }
    }
  }
"#;

/// The compute unit: processes and modules.
pub(crate) const PROCESSES: &str = r#"
    query GetProcesses (
      $processIds: [ID!]!
      $skipTags: Boolean!
      $skipSignature: Boolean!
      $skipAnchor: Boolean!
    ) {
      transactions(ids: $processIds) {
        edges {
          node {
            id
            signature @skip (if: $skipSignature)
            anchor @skip (if: $skipAnchor)
            owner {
              address
              key
            }
            tags @skip (if: $skipTags) {
              name
              value
            }
            recipient
          }
        }
      }
    }"#;

/// The compute unit: blocks, for cron.
pub(crate) const BLOCKS: &str = r#"
      query GetBlocks($min: Int!, $limit: Int!) {
        blocks(
          height: { min: $min },
          first: $limit,
          sort: HEIGHT_ASC
        ) {
          pageInfo {
            hasNextPage
          }
          edges {
            node {
              timestamp
              height
            }
          }
        }
      }
    "#;

/// The compute unit: checkpoints.
pub(crate) const CHECKPOINTS: &str = r#"
    query GetAoProcessCheckpoints(
      $owners: [String!]!
      $processId: String!
      $limit: Int!
    ) {
      transactions(
        tags: [
          { name: "Process", values: [$processId] }
          { name: "Type", values: ["Checkpoint"] }
          { name: "Data-Protocol", values: ["ao"] }
        ],
        owners: $owners,
        first: $limit,
        sort: HEIGHT_DESC
      ) {
        edges {
          node {
            id
            owner {
              address
            }
            tags {
              name
              value
            }
          }
        }
      }
    }
  "#;

/// The scheduler: a transaction to be assigned, its id within the text.
pub(crate) fn to_assign(id: &str) -> String {
    format!(
        r#"query {{
                    transactions(ids: ["{id}"]) {{
                        edges {{
                            node {{
                                id
                                signature
                                anchor
                                owner {{
                                  address
                                  key
                                }}  
                                tags {{
                                  name
                                  value
                                }}
                                recipient
                            }}
                        }}
                    }}
                }}"#
    )
}

/// WeaveDrive: was a message attested?
pub(crate) fn attested(owner: &str, message: &str, height: u64) -> String {
    format!(
        r#"query {{
            transactions(owners: ["{owner}"],
                block: {{min: 0, max: {height}}},
                tags: [
                  {{ name: "Type", values: ["Attestation"] }},
                  {{ name: "Message", values: ["{message}"]}}
                  {{ name: "Data-Protocol", values: ["ao"] }},
                ])
              {{
                edges {{ node {{ tags {{ name value }} }} }}
              }}
            }}"#
    )
}

/// aos: a process by its name.
pub(crate) fn by_name(name: &str) -> String {
    format!(
        r#"query ($owners: [String!]!) {{
    transactions(
      first: 10,
      owners: $owners,
      tags: [
        {{ name: "Data-Protocol", values: ["ao"] }},
        {{ name: "Type", values: ["Process"]}},
        {{ name: "Name", values: ["{name}"]}}
      ]
    ) {{
      edges {{
        node {{
          id
          tags {{
            name
            value
          }}
        }}
      }}
    }}
  }}"#
    )
}

/// aos 1.2.18: the processes of a source.
pub(crate) fn by_source(module: &str) -> String {
    format!(
        r#"query ($owners: [String!]!) {{
    transactions(
      first: 1,
      owners: $owners,
      tags: [
        {{ name: "Data-Protocol", values: ["ao"] }},
        {{ name: "Type", values: ["Process"]}},
        {{ name: "Module", values: ["{module}"]}}
      ]
    ) {{
      edges {{
        node {{
          id
        }}
      }}
    }}
  }}"#
    )
}

/// aos `--list`.
pub(crate) const LIST: &str = r#"query ($owners: [String!]!) {
    transactions(
      first: 100,
      owners: $owners,
      tags: [
        { name: "Data-Protocol", values: ["ao"] },
        { name: "Type", values: ["Process"]}
      ]
    ) {
      edges {
        node {
          id
          owner { address }
          tags {
            name
            value
          }
        }
      }
    }
  }"#;

/// aos: a module by its name.
pub(crate) const MODULE_BY_NAME: &str = r#"query FindAoModuleByName($name: String!) {
    transactions(
      tags: [
        { name: "Type", values: ["Module"] },
        { name: "Data-Protocol", values: ["ao"] },
        { name: "Name", values: [$name] }
      ],
      sort: HEIGHT_DESC,
      first: 100
    ) {
      edges {
        node {
          id
          tags {
            name
            value
          }
          block {
            timestamp
          }
        }
      }
    }
  }"#;

/// HyperBEAM: an item.
pub(crate) const HYPERBEAM_READ: &str = "query($transactionIds: [ID!]!) { \
    transactions(ids: $transactionIds, first: 1){ edges { node { id anchor signature recipient owner { key } \
    fee { winston } quantity { winston } tags { name value } data { size } } cursor } } } ";

/// HyperBEAM: a scheduler; its condition on tags is no list.
pub(crate) const HYPERBEAM_SCHEDULER: &str = "query($SchedulerAddrs: [String!]!) { \
    transactions(owners: $SchedulerAddrs, tags: { name: \"Type\" values: [\"Scheduler-Location\"] }, first: 1){ \
    edges { node { id anchor signature recipient owner { key } fee { winston } quantity { winston } \
    tags { name value } data { size } } cursor } } }";
