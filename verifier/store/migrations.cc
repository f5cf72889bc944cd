#include "verifier/store/migrations.h"

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/util/status_macros.h"

namespace cupel::verifier {
namespace {

// A step, once released, is never edited: the next one is added. Types are
// BIGINT, TEXT and BLOB; PostgreSQL gets `CREATE DOMAIN blob AS bytea` first.
// Times are nanoseconds since 1970, blobs as in codec.h.
const std::vector<std::vector<std::string>>& Steps() {
  static const auto& steps = *new std::vector<std::vector<std::string>>{
      {
          // Numbers that only grow: a name each.
          R"(CREATE TABLE sequences (name TEXT PRIMARY KEY,
             value BIGINT NOT NULL))",
          "INSERT INTO sequences (name, value) VALUES ('event', 0)",
          "INSERT INTO sequences (name, value) VALUES ('forgotten', 0)",

          R"(CREATE TABLE policies (tenant TEXT NOT NULL CHECK (tenant <> ''),
             name TEXT NOT NULL, version BIGINT NOT NULL,
             content_id TEXT NOT NULL, created BIGINT NOT NULL,
             file BLOB NOT NULL,
             PRIMARY KEY (tenant, name)))",

          // An id is unique in the deployment, and so is an EK; NULLs, of
          // agents that are not enrolled, don't count.
          R"(CREATE TABLE agents (agent_id TEXT PRIMARY KEY,
             tenant TEXT NOT NULL, state BIGINT NOT NULL,
             state_reason TEXT NOT NULL, wanted_ek_sha256 TEXT NOT NULL,
             ek_sha256 TEXT UNIQUE, ek_name TEXT UNIQUE, address TEXT NOT NULL,
             enrolled_at BIGINT, enrollment BLOB, settings BLOB NOT NULL,
             policy_epoch BIGINT NOT NULL, owner_epoch BIGINT NOT NULL,
             owner TEXT NOT NULL, valid_until BIGINT, last_attested BIGINT,
             last_seen BIGINT, attestation_count BIGINT NOT NULL,
             counts BLOB NOT NULL, accepted BLOB NOT NULL,
             boot_composite TEXT NOT NULL, pinned_boot_composite TEXT NOT NULL,
             progress BLOB NOT NULL, findings BLOB NOT NULL,
             CHECK (state BETWEEN 1 AND 6),
             CHECK (state = 2 OR tenant <> ''),
             CHECK (ek_sha256 IS NULL OR state <> 1),
             CHECK (ek_sha256 IS NOT NULL OR state IN (1, 6)),
             CHECK ((ek_sha256 IS NULL) = (enrollment IS NULL)),
             CHECK (state <> 4 OR valid_until IS NOT NULL)))",
          "CREATE INDEX agents_by_tenant ON agents (tenant, agent_id)",
          "CREATE INDEX agents_by_address ON agents (tenant, address)",

          // What `settings` says, where it can be searched and constrained.
          R"(CREATE TABLE agent_policies (agent_id TEXT NOT NULL
             REFERENCES agents (agent_id) ON DELETE CASCADE,
             position BIGINT NOT NULL, tenant TEXT NOT NULL,
             name TEXT NOT NULL, PRIMARY KEY (agent_id, position),
             FOREIGN KEY (tenant, name) REFERENCES policies (tenant, name)))",
          R"(CREATE INDEX agent_policies_by_name
             ON agent_policies (tenant, name))",
          R"(CREATE TABLE agent_labels (agent_id TEXT NOT NULL
             REFERENCES agents (agent_id) ON DELETE CASCADE,
             name TEXT NOT NULL, value TEXT NOT NULL,
             PRIMARY KEY (agent_id, name)))",

          R"(CREATE TABLE nonces (nonce TEXT PRIMARY KEY,
             consumed BIGINT NOT NULL))",
          R"(CREATE TABLE deletions (agent_id TEXT PRIMARY KEY,
             deleted BIGINT NOT NULL))",
          R"(CREATE TABLE enrollment_tokens (token_sha256 TEXT PRIMARY KEY,
             tenant TEXT NOT NULL CHECK (tenant <> ''),
             expires BIGINT NOT NULL))",

          R"(CREATE TABLE events (sequence BIGINT PRIMARY KEY,
             time BIGINT NOT NULL, tenant TEXT NOT NULL,
             agent_id TEXT NOT NULL, previous BIGINT NOT NULL,
             state BIGINT NOT NULL, description TEXT NOT NULL,
             findings BLOB NOT NULL))",
          "CREATE INDEX events_by_tenant ON events (tenant, sequence)",
      },
      {
          // For what is asked every second: whose time is up, and how many
          // agents are in which state.
          "CREATE INDEX agents_by_state ON agents (state, valid_until)",
      },
      {
          // Of the last quote that was judged.
          "ALTER TABLE agents ADD COLUMN clock_info BLOB",

          R"(ALTER TABLE agents ADD COLUMN ek_vouched BIGINT
             NOT NULL DEFAULT 0)",
          R"(CREATE TABLE allowed_eks (tenant TEXT NOT NULL
             CHECK (tenant <> ''), ek_sha256 TEXT NOT NULL,
             who TEXT NOT NULL, time BIGINT NOT NULL,
             PRIMARY KEY (tenant, ek_sha256)))",

          "ALTER TABLE policies ADD COLUMN size BIGINT NOT NULL DEFAULT 0",
          R"(ALTER TABLE policies ADD COLUMN digest_count BIGINT
             NOT NULL DEFAULT 0)",
          "UPDATE policies SET size = length(file)",

          // 1 for those that only find something else.
          R"(ALTER TABLE events ADD COLUMN of_findings BIGINT
             NOT NULL DEFAULT 0)",
          R"(CREATE INDEX events_by_agent
             ON events (agent_id, of_findings, sequence))",
          "CREATE INDEX events_by_time ON events (time)",
      },
      {
          // All of a policy but its file, behind which the other columns would
          // have to be looked for.
          R"(CREATE INDEX policies_without_files
             ON policies (tenant, name, version, content_id, created, size,
             digest_count))",

          // What a verdict was reached with.
          "ALTER TABLE agents ADD COLUMN judged_policies BLOB",
          "ALTER TABLE events ADD COLUMN policies BLOB",
      },
      {
          // For a tenant's quota, which is asked while others wait to write.
          R"(CREATE INDEX enrollment_tokens_by_tenant
             ON enrollment_tokens (tenant, expires))",
      },
  };
  return steps;
}

absl::Status Step(Connection& connection, uint64_t version) {
  for (const std::string& sql : Steps()[version]) {
    CUPEL_RETURN_IF_ERROR(connection.Execute(sql).status());
  }
  return connection
      .Execute("UPDATE cupel_schema SET version = :v", {SqlNumber(version + 1)})
      .status();
}

// nullopt where there is no table yet.
absl::StatusOr<std::optional<uint64_t>> FindVersion(Connection& connection) {
  CUPEL_ASSIGN_OR_RETURN(
      const auto tables,
      connection.Query("SELECT name FROM sqlite_master WHERE type = 'table'",
                       "t"));
  if (tables.empty()) return std::nullopt;
  bool is_ours = false;
  for (const SqlRow& row : tables) {
    is_ours |= row.front() == SqlText("cupel_schema");
  }
  if (!is_ours) {
    return absl::FailedPreconditionError(
        "store: the database belongs to another program; give a file that "
        "doesn't exist yet");
  }
  CUPEL_ASSIGN_OR_RETURN(
      const auto rows,
      connection.Query("SELECT version FROM cupel_schema", "i"));
  if (rows.size() != 1) {
    return absl::DataLossError("store: the schema's version is not one row");
  }
  RowReader reader(rows.front());
  const uint64_t version = reader.Number();
  CUPEL_RETURN_IF_ERROR(reader.status());
  if (version > kSchemaVersion) {
    return absl::FailedPreconditionError(absl::StrCat(
        "store: the database has schema ", version, ", and this program knows ",
        kSchemaVersion, " at most; use the newer program that wrote it"));
  }
  return version;
}

// 0 where there is no schema yet. Runs in a transaction.
absl::StatusOr<uint64_t> VersionOf(Connection& connection) {
  CUPEL_ASSIGN_OR_RETURN(const std::optional<uint64_t> version,
                         FindVersion(connection));
  if (version.has_value()) return *version;
  CUPEL_RETURN_IF_ERROR(
      connection.Execute("CREATE TABLE cupel_schema (version BIGINT NOT NULL)")
          .status());
  CUPEL_RETURN_IF_ERROR(
      connection.Execute("INSERT INTO cupel_schema (version) VALUES (0)")
          .status());
  return 0;
}

absl::StatusOr<uint64_t> OneStep(Connection& connection) {
  CUPEL_ASSIGN_OR_RETURN(const uint64_t version, VersionOf(connection));
  if (version == kSchemaVersion) return version;
  CUPEL_RETURN_IF_ERROR(Step(connection, version));
  return version + 1;
}

}  // namespace

absl::Status CheckSchema(Connection& connection) {
  CUPEL_ASSIGN_OR_RETURN(const std::optional<uint64_t> version,
                         FindVersion(connection));
  if (version.has_value()) return absl::OkStatus();
  return absl::FailedPreconditionError("store: the database is empty");
}

absl::Status Migrate(Connection& connection) {
  // Two processes may start at once: each step looks again at what is there.
  while (true) {
    CUPEL_RETURN_IF_ERROR(connection.Begin(Durability::kFull));
    const absl::StatusOr<uint64_t> version = OneStep(connection);
    if (!version.ok()) {
      connection.Rollback();
      return version.status();
    }
    if (absl::Status committed = connection.Commit(); !committed.ok()) {
      connection.Rollback();
      return committed;
    }
    if (*version == kSchemaVersion) return absl::OkStatus();
  }
}

}  // namespace cupel::verifier
