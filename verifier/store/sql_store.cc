#include "verifier/store/sql_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <set>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/digest.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/hex.h"
#include "common/util/status_macros.h"
#include "common/util/utf8.h"
#include "verifier/store/bounded_findings.h"
#include "verifier/store/codec.h"
#include "verifier/store/ek_list.h"
#include "verifier/store/merged_findings.h"
#include "verifier/store/migrations.h"
#include "verifier/store/policy_names.h"

namespace cupel::verifier {
namespace {

using ::cupel::appraisal::Finding;
using ::cupel::appraisal::Progress;

// --- Arguments.

bool IsStorableText(absl::string_view text) {
  while (!text.empty()) {
    if (text.front() == '\0') return false;
    const size_t size = DecodeUtf8(text).size;
    if (size == 0) return false;
    text.remove_prefix(size);
  }
  return true;
}

absl::Status CheckText(absl::string_view text, absl::string_view what) {
  if (IsStorableText(text)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("store: ", what, " is no UTF-8 text: ", Quoted(text, 80)));
}

absl::Status CheckName(absl::string_view name, absl::string_view what) {
  if (name.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("store: no ", what));
  }
  return CheckText(name, what);
}

absl::Status CheckSha256(absl::string_view hex, absl::string_view what) {
  const bool is_lower_hex = std::ranges::all_of(hex, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
  if (hex.size() == 64 && is_lower_hex) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "store: ", what, ": ", Quoted(hex, 80), " is not 64 lower-case digits"));
}

absl::Status CheckSettings(const AgentSettings& settings) {
  for (const std::string& policy : settings.policies) {
    CUPEL_RETURN_IF_ERROR(CheckName(policy, "policy's name"));
  }
  for (const std::string& name : settings.without_excludes) {
    if (std::ranges::find(settings.policies, name) == settings.policies.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("without_excludes: ", Quoted(name, 200),
                       " is none of the agent's policies"));
    }
  }
  for (const auto& [name, value] : settings.labels) {
    CUPEL_RETURN_IF_ERROR(CheckName(name, "label"));
    CUPEL_RETURN_IF_ERROR(CheckText(value, "label's value"));
  }
  return absl::OkStatus();
}

// --- Errors.

absl::Status NoSuchAgent(const AgentId& id) {
  return absl::NotFoundError(absl::StrCat("no agent ", id.ToString()));
}

absl::Status NoSuchPolicy(absl::string_view name) {
  return absl::NotFoundError(absl::StrCat("no policy ", Quoted(name)));
}

absl::Status StateForbids(const AgentId& id, AgentState state,
                          absl::string_view what) {
  return absl::FailedPreconditionError(absl::StrCat(
      "agent ", id.ToString(), " is ", AgentStateName(state), ": ", what));
}

// --- Rows.

constexpr char kAgentColumns[] =
    "agent_id, tenant, state, state_reason, wanted_ek_sha256, enrollment,"
    " settings, policy_epoch, owner_epoch, valid_until, last_attested,"
    " last_seen, attestation_count, counts, accepted, boot_composite,"
    " pinned_boot_composite, progress, findings, clock_info, ek_vouched,"
    " judged_policies";
constexpr char kAgentTypes[] = "ttittbbiiiiiibbttbbbib";

AgentState StateFromSql(uint64_t number) {
  return static_cast<AgentState>(number);
}
SqlValue StateToSql(AgentState state) {
  return SqlNumber(static_cast<uint64_t>(state));
}
bool IsState(uint64_t number) {
  return number >= static_cast<uint64_t>(AgentState::kExpected) &&
         number <= static_cast<uint64_t>(AgentState::kStopped);
}

absl::StatusOr<AgentId> IdFromSql(const std::string& text) {
  absl::StatusOr<AgentId> id = AgentId::Parse(text);
  if (!id.ok()) {
    return absl::DataLossError(
        absl::StrCat("store: ", Quoted(text, 80), " is no agent's id"));
  }
  return id;
}

absl::StatusOr<std::vector<JudgedPolicy>> JudgedFromSql(
    const std::optional<SqlBytes>& bytes) {
  if (!bytes.has_value()) return std::vector<JudgedPolicy>();
  return DecodeJudgedPolicies(*bytes);
}
SqlValue JudgedToSql(const std::vector<JudgedPolicy>& policies) {
  if (policies.empty()) return SqlValue();
  return EncodeJudgedPolicies(policies);
}

absl::StatusOr<AgentRecord> AgentFromRow(const SqlRow& row) {
  RowReader in(row);
  CUPEL_ASSIGN_OR_RETURN(const AgentId id, IdFromSql(in.Text()));
  AgentRecord agent = AgentRecord{.id = id};
  agent.tenant = in.Text();
  const uint64_t state = in.Number();
  agent.state_reason = in.Text();
  agent.wanted_ek_sha256 = in.Text();
  if (const auto bytes = in.OptionalBytes(); bytes.has_value()) {
    CUPEL_ASSIGN_OR_RETURN(agent.enrollment, DecodeEnrollment(*bytes));
  }
  const SqlBytes settings = in.Bytes();
  agent.policy_epoch = in.Number();
  agent.owner_epoch = in.Number();
  agent.valid_until = in.OptionalTime();
  agent.last_attested = in.OptionalTime();
  agent.last_seen = in.OptionalTime();
  agent.attestation_count = in.Number();
  const SqlBytes counts = in.Bytes();
  const SqlBytes accepted = in.Bytes();
  agent.boot_composite = in.Text();
  agent.pinned_boot_composite = in.Text();
  const SqlBytes progress = in.Bytes();
  const SqlBytes findings = in.Bytes();
  const auto clock_info = in.OptionalBytes();
  agent.ek_vouched = in.Number() != 0;
  const auto judged_policies = in.OptionalBytes();
  CUPEL_RETURN_IF_ERROR(in.status());
  if (!IsState(state)) {
    return absl::DataLossError(
        absl::StrCat("store: agent ", id.ToString(), " has the state ", state));
  }
  agent.state = StateFromSql(state);
  CUPEL_ASSIGN_OR_RETURN(agent.settings, DecodeSettings(settings));
  CUPEL_ASSIGN_OR_RETURN(agent.counts, DecodeCounts(counts));
  CUPEL_ASSIGN_OR_RETURN(agent.accepted, DecodeAccepted(accepted));
  CUPEL_ASSIGN_OR_RETURN(agent.progress, DecodeProgress(progress));
  CUPEL_ASSIGN_OR_RETURN(agent.findings, DecodeFindings(findings));
  if (clock_info.has_value()) {
    CUPEL_ASSIGN_OR_RETURN(agent.clock_info, DecodeClockInfo(*clock_info));
  }
  CUPEL_ASSIGN_OR_RETURN(agent.judged_policies, JudgedFromSql(judged_policies));
  return agent;
}

absl::StatusOr<std::vector<AgentRecord>> QueryAgents(
    Connection& db, absl::string_view condition, std::vector<SqlValue> values) {
  CUPEL_ASSIGN_OR_RETURN(const auto rows,
                         db.Query(absl::StrCat("SELECT ", kAgentColumns,
                                               " FROM agents ", condition),
                                  kAgentTypes, std::move(values)));
  std::vector<AgentRecord> agents;
  agents.reserve(rows.size());
  for (const SqlRow& row : rows) {
    CUPEL_ASSIGN_OR_RETURN(AgentRecord agent, AgentFromRow(row));
    agents.push_back(std::move(agent));
  }
  return agents;
}

// What comes after FROM agents, and its values.
std::pair<std::string, std::vector<SqlValue>> ConditionOf(
    const AgentFilter& filter) {
  std::string condition = "WHERE tenant = :tenant AND agent_id > :after";
  std::vector<SqlValue> values = {
      SqlText(filter.tenant),
      SqlText(filter.after.has_value() ? filter.after->ToString() : "")};
  int number = 0;
  for (const auto& [name, value] : filter.labels) {
    absl::StrAppend(&condition,
                    " AND EXISTS (SELECT 1 FROM agent_labels AS l"
                    " WHERE l.agent_id = agents.agent_id AND l.name = :name",
                    number, " AND l.value = :value", number, ")");
    ++number;
    values.push_back(SqlText(name));
    values.push_back(SqlText(value));
  }
  if (filter.state.has_value()) {
    absl::StrAppend(&condition, " AND state = :state");
    values.push_back(StateToSql(*filter.state));
  }
  absl::StrAppend(&condition, " ORDER BY agent_id LIMIT :count");
  values.push_back(SqlNumber(filter.limit));
  return {std::move(condition), std::move(values)};
}

absl::StatusOr<std::optional<AgentRecord>> MaybeAgent(Connection& db,
                                                      const AgentId& id) {
  CUPEL_ASSIGN_OR_RETURN(auto agents, QueryAgents(db, "WHERE agent_id = :id",
                                                  {SqlText(id.ToString())}));
  if (agents.empty()) return std::nullopt;
  return std::move(agents.front());
}

absl::StatusOr<AgentRecord> ReadAgent(Connection& db, const AgentId& id) {
  CUPEL_ASSIGN_OR_RETURN(auto agent, MaybeAgent(db, id));
  if (!agent.has_value()) return NoSuchAgent(id);
  return *std::move(agent);
}

// Another tenant's agent isn't there.
absl::StatusOr<AgentRecord> ReadAgentOf(Connection& db,
                                        absl::string_view tenant,
                                        const AgentId& id) {
  CUPEL_ASSIGN_OR_RETURN(auto agent, MaybeAgent(db, id));
  if (!agent.has_value() || agent->tenant != tenant) return NoSuchAgent(id);
  return *std::move(agent);
}

// An EK may have several certificates, and a fingerprint for each: its Name
// tells it from others [A21].
SqlValue EkNameToSql(const AgentRecord& agent) {
  if (!agent.enrollment.has_value() || agent.enrollment->ek_name.empty()) {
    return SqlValue();
  }
  return SqlText(HexEncode(agent.enrollment->ek_name));
}

SqlValue ClockToSql(const std::optional<tpm::ClockInfo>& info) {
  return info.has_value() ? SqlValue(EncodeClockInfo(*info)) : SqlValue();
}

// Writes all that an operator or an enrolment can change; the counters of
// attestations and the findings stay.
absl::Status UpdateRow(Connection& db, const AgentRecord& agent) {
  const bool enrolled = agent.enrollment.has_value();
  return db
      .Execute(
          "UPDATE agents SET tenant = :tenant, state = :state,"
          " state_reason = :reason, wanted_ek_sha256 = :wanted,"
          " ek_sha256 = :ek, ek_name = :ek_name, address = :address, "
          "enrolled_at = :time,"
          " enrollment = :enrollment, settings = :settings,"
          " policy_epoch = :policy, owner_epoch = :owner,"
          " valid_until = :until, accepted = :accepted,"
          " pinned_boot_composite = :pinned, progress = :progress,"
          " clock_info = :clock, ek_vouched = :vouched WHERE agent_id = :id",
          {SqlText(agent.tenant), StateToSql(agent.state),
           SqlText(agent.state_reason), SqlText(agent.wanted_ek_sha256),
           enrolled ? SqlText(agent.enrollment->ek_sha256) : SqlValue(),
           EkNameToSql(agent),
           SqlText(enrolled ? agent.enrollment->address : ""),
           enrolled ? SqlTime(agent.enrollment->time) : SqlValue(),
           enrolled ? EncodeEnrollment(*agent.enrollment) : SqlValue(),
           EncodeSettings(agent.settings), SqlNumber(agent.policy_epoch),
           SqlNumber(agent.owner_epoch), SqlTime(agent.valid_until),
           EncodeAccepted(agent.accepted), SqlText(agent.pinned_boot_composite),
           EncodeProgress(agent.progress), ClockToSql(agent.clock_info),
           SqlNumber(agent.ek_vouched ? 1 : 0), SqlText(agent.id.ToString())})
      .status();
}

absl::Status InsertRow(Connection& db, const AgentRecord& agent) {
  const bool enrolled = agent.enrollment.has_value();
  return db
      .Execute(
          "INSERT INTO agents (agent_id, tenant, state, state_reason,"
          " wanted_ek_sha256, ek_sha256, ek_name, address, enrolled_at,"
          " enrollment,"
          " settings, policy_epoch, owner_epoch, owner, attestation_count,"
          " counts, accepted, boot_composite, pinned_boot_composite, progress,"
          " findings, ek_vouched) VALUES (:id, :tenant, :state, :reason, "
          ":wanted, :ek,"
          " :ek_name, :address, :time, :enrollment, :settings, :policy, "
          ":owner, '', 0,"
          " :counts, :accepted, '', '', :progress, :findings, :vouched)",
          {SqlText(agent.id.ToString()), SqlText(agent.tenant),
           StateToSql(agent.state), SqlText(agent.state_reason),
           SqlText(agent.wanted_ek_sha256),
           enrolled ? SqlText(agent.enrollment->ek_sha256) : SqlValue(),
           EkNameToSql(agent),
           SqlText(enrolled ? agent.enrollment->address : ""),
           enrolled ? SqlTime(agent.enrollment->time) : SqlValue(),
           enrolled ? EncodeEnrollment(*agent.enrollment) : SqlValue(),
           EncodeSettings(agent.settings), SqlNumber(agent.policy_epoch),
           SqlNumber(agent.owner_epoch), EncodeCounts({}), EncodeAccepted({}),
           EncodeProgress({}), EncodeFindings({}),
           SqlNumber(agent.ek_vouched ? 1 : 0)})
      .status();
}

// Stores what of the settings is searched for. kNotFound for a policy.
absl::Status WriteNames(Connection& db, const AgentRecord& agent) {
  const std::string id = agent.id.ToString();
  for (const char* const table : {"agent_policies", "agent_labels"}) {
    CUPEL_RETURN_IF_ERROR(
        db.Execute(absl::StrCat("DELETE FROM ", table, " WHERE agent_id = :id"),
                   {SqlText(id)})
            .status());
  }
  uint64_t position = 0;
  for (const std::string& name : agent.settings.policies) {
    const PolicyKey key = ResolvePolicyName(agent.tenant, name);
    CUPEL_ASSIGN_OR_RETURN(
        const auto version,
        db.QueryOne("SELECT version FROM policies WHERE tenant = :tenant"
                    " AND name = :name",
                    'i', {SqlText(key.tenant), SqlText(key.name)}));
    if (!version.has_value()) return NoSuchPolicy(name);
    CUPEL_RETURN_IF_ERROR(db.Execute("INSERT INTO agent_policies"
                                     " (agent_id, position, tenant, name)"
                                     " VALUES (:id, :position, :tenant, :name)",
                                     {SqlText(id), SqlNumber(position++),
                                      SqlText(key.tenant), SqlText(key.name)})
                              .status());
  }
  for (const auto& [name, value] : agent.settings.labels) {
    CUPEL_RETURN_IF_ERROR(
        db.Execute("INSERT INTO agent_labels (agent_id, name, value)"
                   " VALUES (:id, :name, :value)",
                   {SqlText(id), SqlText(name), SqlText(value)})
            .status());
  }
  return absl::OkStatus();
}

std::string TokenHash(absl::string_view token) {
  return crypto::Hash(crypto::HashAlgorithm::kSha256, AsBytes(token)).Hex();
}

std::string By(absl::string_view what, absl::string_view who) {
  return who.empty() ? std::string(what) : absl::StrCat(what, " by ", who);
}

// Agents that name the policy: `tenant`'s own, or all if it is the policy's.
absl::StatusOr<uint64_t> CountNaming(Connection& db, absl::string_view tenant,
                                     const PolicyKey& key) {
  const bool is_own = tenant == key.tenant;
  return db.QueryNumber(
      "SELECT COUNT(DISTINCT p.agent_id) FROM agent_policies AS p"
      " JOIN agents AS a ON a.agent_id = p.agent_id"
      " WHERE p.tenant = :owner AND p.name = :name"
      " AND (:all = 1 OR a.tenant = :tenant)",
      {SqlText(key.tenant), SqlText(key.name), SqlNumber(is_own ? 1 : 0),
       SqlText(tenant)});
}

constexpr char kPolicyColumns[] =
    "tenant, name, version, content_id, created, size, digest_count";
constexpr char kPolicyTypes[] = "ttitiii";

// `tenant` is who is told of it.
absl::StatusOr<PolicyRecord> PolicyFromRow(const SqlRow& row, bool has_file,
                                           absl::string_view tenant) {
  RowReader in(row);
  PolicyRecord policy;
  policy.tenant = in.Text();
  policy.name = in.Text();
  policy.version = in.Number();
  policy.content_id = in.Text();
  policy.created = in.Time();
  policy.size = in.Number();
  policy.digest_count = in.Number();
  if (has_file) policy.file = in.Bytes();
  CUPEL_RETURN_IF_ERROR(in.status());
  if (policy.tenant != tenant) {
    policy.name = QualifiedPolicyName(policy.tenant, policy.name);
  }
  return policy;
}

// --- Verdicts.

absl::Status CheckVerdict(const VerdictWrite& write) {
  if (write.state.has_value() && *write.state != AgentState::kPending &&
      *write.state != AgentState::kTrusted &&
      *write.state != AgentState::kFailed) {
    return absl::InvalidArgumentError(absl::StrCat(
        "store: no verdict leads to ", AgentStateName(*write.state)));
  }
  if (write.state == AgentState::kTrusted && !write.valid_until.has_value()) {
    return absl::InvalidArgumentError("store: TRUSTED without an end");
  }
  return CheckText(write.boot_composite, "boot composite");
}

std::string StorableReason(const VerdictWrite& write) {
  return IsStorableText(write.reason) ? write.reason
                                      : EscapeForDisplay(write.reason);
}

// What of a verdict's write goes into the agent's row, without findings and
// state; behind it come the fence and what a statement has besides.
constexpr char kSetVerdict[] =
    "UPDATE agents SET progress = :progress, counts = :counts,"
    " last_seen = :seen,"
    " last_attested = COALESCE(:attested, last_attested),"
    " attestation_count = attestation_count + :one,"
    " boot_composite = COALESCE(:composite, boot_composite),"
    " clock_info = COALESCE(:clock, clock_info),"
    " judged_policies = COALESCE(:policies, judged_policies),"
    " state_reason = CASE WHEN :sets_reason = 1 OR state = 3"
    " THEN COALESCE(:reason, state_reason) ELSE state_reason END,"
    " valid_until = CASE WHEN :has_state = 1 THEN :until"
    " ELSE valid_until END";
// Both epochs, in the statement that writes.
constexpr char kFence[] =
    " WHERE agent_id = :id AND owner_epoch = :owner AND policy_epoch = :policy";

std::vector<SqlValue> VerdictValues(
    const VerdictWrite& write, const std::optional<absl::Time>& valid_until,
    absl::Time now) {
  const SqlValue has_state = SqlNumber(write.state.has_value() ? 1 : 0);
  return {
      EncodeProgress(write.progress),
      EncodeCounts(write.counts),
      SqlTime(now),
      write.decided ? SqlTime(now) : SqlValue(),
      SqlNumber(write.decided ? 1 : 0),
      write.boot_composite.empty() ? SqlValue() : SqlText(write.boot_composite),
      ClockToSql(write.clock_info),
      JudgedToSql(write.policies),
      has_state,
      write.reason.empty() ? SqlValue() : SqlText(StorableReason(write)),
      has_state,
      SqlTime(valid_until)};
}

void AddFence(const VerdictWrite& write, std::vector<SqlValue>& values) {
  values.push_back(SqlText(write.id.ToString()));
  values.push_back(SqlNumber(write.owner_epoch));
  values.push_back(SqlNumber(write.policy_epoch));
}

std::string ErrnoText(absl::string_view path) {
  return absl::StrCat(Quoted(path), ": ", std::strerror(errno));
}

// SQLite would make it readable by all; its log and index take over the mode.
absl::Status MakePrivateFile(const std::string& path, int flags) {
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | flags,
                        S_IRUSR | S_IWUSR);
  if (file < 0) {
    if (errno == EEXIST) return absl::AlreadyExistsError(ErrnoText(path));
    return absl::UnavailableError(absl::StrCat("store: ", ErrnoText(path)));
  }
  close(file);
  return absl::OkStatus();
}

absl::Status SyncFile(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0 || fsync(file) != 0) {
    const std::string text = ErrnoText(path);
    if (file >= 0) close(file);
    return absl::UnavailableError(text);
  }
  close(file);
  return absl::OkStatus();
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

absl::Status VacuumInto(Connection& db, const std::string& path) {
  return db.Execute("VACUUM INTO :path", {SqlText(path)}).status();
}

// Has `copy` write a new private file, which becomes `path` once it is whole.
absl::Status WriteBackup(
    const std::string& path,
    absl::FunctionRef<absl::Status(const std::string&)> copy) {
  if (path.empty()) return absl::InvalidArgumentError("backup: no path");
  if (access(path.c_str(), F_OK) == 0) {
    return absl::AlreadyExistsError(
        absl::StrCat("backup: ", Quoted(path), " exists"));
  }
  const std::string part = path + ".part";
  CUPEL_RETURN_IF_ERROR(MakePrivateFile(part, O_EXCL));
  absl::Status status = copy(part);
  if (status.ok()) status = SyncFile(part);
  // link, unlike rename, replaces nothing.
  if (status.ok() && link(part.c_str(), path.c_str()) != 0) {
    status =
        errno == EEXIST
            ? absl::AlreadyExistsError(ErrnoText(path))
            : absl::UnavailableError(absl::StrCat("backup: ", ErrnoText(path)));
  }
  unlink(part.c_str());
  if (status.ok()) status = SyncFile(FolderOf(path));
  return status;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SqlStore>> SqlStore::Open(
    const std::string& path, Options options) {
  std::unique_ptr<SqlStore> store(new SqlStore(path, std::move(options)));
  const bool is_file = path != ":memory:";
  if (path.empty()) return absl::InvalidArgumentError("store: no path");
  if (is_file) CUPEL_RETURN_IF_ERROR(MakePrivateFile(path, 0));
  Connection::Options connection{.busy_timeout = store->options_.busy_timeout,
                                 .read_only = false};
  CUPEL_ASSIGN_OR_RETURN(store->writer_.connection,
                         Connection::OpenSqlite(path, connection));
  Connection& db = *store->writer_.connection;
  CUPEL_ASSIGN_OR_RETURN(const auto check,
                         db.QueryOne("PRAGMA quick_check(1)", 't'));
  if (check != SqlText("ok")) {
    return absl::DataLossError(absl::StrCat(
        "store: ", Quoted(path), " is corrupt: restore it from a backup"));
  }
  CUPEL_RETURN_IF_ERROR(Migrate(db));
  if (is_file) {
    connection.read_only = true;
    CUPEL_ASSIGN_OR_RETURN(store->reader_.connection,
                           Connection::OpenSqlite(path, connection));
  }
  return store;
}

absl::Time SqlStore::Now() const {
  return options_.clock ? options_.clock() : absl::Now();
}

std::optional<absl::Time> SqlStore::PendingUntil() const {
  if (!options_.pending_timeout.has_value()) return std::nullopt;
  return Now() + *options_.pending_timeout;
}

void SqlStore::MakePending(AgentRecord& agent, absl::string_view reason) const {
  agent.state = AgentState::kPending;
  agent.state_reason = std::string(reason);
  agent.valid_until = PendingUntil();
}

void SqlStore::Unsettle(AgentRecord& agent, absl::string_view reason) const {
  ++agent.policy_epoch;
  if (agent.state == AgentState::kTrusted) MakePending(agent, reason);
}

absl::Status SqlStore::WriteLocked(
    Durability durability, absl::FunctionRef<absl::Status(Connection&)> body) {
  Connection& db = *writer_.connection;
  CUPEL_RETURN_IF_ERROR(db.Begin(durability));
  absl::Status status;
  try {
    status = body(db);
    if (status.ok()) status = db.Commit();
  } catch (...) {
    // Left open it would keep every later one from beginning.
    db.Rollback();
    throw;
  }
  if (!status.ok()) db.Rollback();
  return status;
}

// The sequence is drawn inside of the transaction, from a row that it locks:
// so numbers are visible in their order, without a gap to be filled later.
absl::Status SqlStore::WriteEvent(Connection& db, absl::Time time,
                                  absl::string_view tenant, const AgentId& id,
                                  AgentState previous, AgentState state,
                                  absl::string_view text,
                                  const std::vector<Finding>& findings,
                                  bool of_findings,
                                  const std::vector<JudgedPolicy>& policies) {
  const SqlValue kind = SqlNumber(of_findings ? 1 : 0);
  const SqlValue agent = SqlText(id.ToString());
  CUPEL_RETURN_IF_ERROR(
      db.Execute("UPDATE sequences SET value = value + 1 WHERE name = 'event'")
          .status());
  CUPEL_RETURN_IF_ERROR(
      db.Execute(
            "INSERT INTO events (sequence, time, tenant, agent_id, previous,"
            " state, description, findings, of_findings, policies)"
            " SELECT value, :time,"
            " :tenant, :id, :previous, :state, :text, :findings, :kind,"
            " :policies"
            " FROM sequences WHERE name = 'event'",
            {SqlTime(time), SqlText(tenant), agent, StateToSql(previous),
             StateToSql(state), SqlText(text),
             EncodeFindings(Bounded(findings, kEventBounds)), kind,
             JudgedToSql(policies)})
          .status());
  // Those before the last so many; nothing where there are fewer.
  return db
      .Execute(
          "DELETE FROM events WHERE agent_id = :id AND of_findings = :kind"
          " AND sequence <= (SELECT sequence FROM events"
          " WHERE agent_id = :same_id AND of_findings = :same_kind"
          " ORDER BY sequence DESC LIMIT 1 OFFSET :count)",
          {agent, kind, agent, kind,
           SqlNumber(of_findings ? options_.max_finding_events_per_agent
                                 : options_.max_events_per_agent)})
      .status();
}

absl::Status SqlStore::Write(
    Durability durability, const Change& change,
    absl::FunctionRef<absl::Status(Connection&)> body) {
  {
    const std::lock_guard lock(writer_.mutex);
    CUPEL_RETURN_IF_ERROR(WriteLocked(durability, body));
  }
  if (change.changed) Notify(change);
  return absl::OkStatus();
}

void SqlStore::Notify(const Change& change) {
  const std::lock_guard lock(listeners_mutex_);
  for (const auto& listener : listeners_) listener(change.id);
}

void SqlStore::OnChange(std::function<void(std::optional<AgentId>)> changed) {
  const std::lock_guard lock(listeners_mutex_);
  listeners_.push_back(std::move(changed));
}

// --- Enrolment.

absl::StatusOr<AgentRecord> SqlStore::Enroll(
    const AgentId& id, const Enrollment& enrollment,
    std::span<const uint8_t> nonce, absl::Time issued, absl::string_view token,
    uint32_t max_unclaimed_per_address) {
  CUPEL_RETURN_IF_ERROR(CheckSha256(enrollment.ek_sha256, "EK"));
  CUPEL_RETURN_IF_ERROR(CheckText(enrollment.address, "address"));
  if (nonce.empty()) return absl::InvalidArgumentError("store: no nonce");
  absl::StatusOr<AgentRecord> agent = absl::InternalError("store: not read");
  const auto body = [&](Connection& db) -> absl::Status {
    CUPEL_RETURN_IF_ERROR(EnrollIn(db, id, enrollment, nonce, issued, token,
                                   max_unclaimed_per_address));
    agent = ReadAgent(db, id);
    return agent.status();
  };
  CUPEL_RETURN_IF_ERROR(Write(Durability::kFull, {.id = id}, body));
  return agent;
}

absl::Status SqlStore::EnrollIn(Connection& db, const AgentId& id,
                                const Enrollment& enrollment,
                                std::span<const uint8_t> nonce,
                                absl::Time issued, absl::string_view token,
                                uint32_t max_unclaimed_per_address) {
  // A cookie from before the last Expire, whose nonce has been forgotten, or
  // from before the id was deleted.
  CUPEL_ASSIGN_OR_RETURN(
      const auto forgotten,
      db.QueryOne("SELECT value FROM sequences WHERE name = 'forgotten'"
                  " AND value > :issued",
                  'i', {SqlTime(issued)}));
  CUPEL_ASSIGN_OR_RETURN(
      const auto deleted,
      db.QueryOne("SELECT deleted FROM deletions WHERE agent_id = :id"
                  " AND deleted >= :issued",
                  'i', {SqlText(id.ToString()), SqlTime(issued)}));
  if (forgotten.has_value() || deleted.has_value()) {
    return absl::FailedPreconditionError(
        "the enrolment's cookie is too old: enrol again");
  }
  const std::string nonce_hex = HexEncode(nonce);
  CUPEL_ASSIGN_OR_RETURN(
      const auto used,
      db.QueryOne("SELECT consumed FROM nonces WHERE nonce = :nonce", 'i',
                  {SqlText(nonce_hex)}));
  if (used.has_value()) {
    return absl::AlreadyExistsError(
        "the enrolment's cookie has been used: enrol again");
  }
  CUPEL_RETURN_IF_ERROR(
      db.Execute("INSERT INTO nonces (nonce, consumed) VALUES (:n, :time)",
                 {SqlText(nonce_hex), SqlTime(Now())})
          .status());

  CUPEL_ASSIGN_OR_RETURN(auto known, MaybeAgent(db, id));
  AgentRecord agent = known.has_value() ? *known : AgentRecord{.id = id};
  const AgentState previous = agent.state;
  const bool unclaimed = agent.tenant.empty();
  CUPEL_ASSIGN_OR_RETURN(const auto token_tenant, TenantOfToken(db, token));
  if (unclaimed && !token.empty() && !token_tenant.has_value()) {
    return absl::PermissionDeniedError(
        "the enrolment token is unknown, used or expired");
  }
  const bool brings_token =
      token_tenant.has_value() && (unclaimed || *token_tenant == agent.tenant);
  const bool has_other_ek = agent.enrollment.has_value() &&
                            agent.enrollment->ek_sha256 != enrollment.ek_sha256;
  CUPEL_ASSIGN_OR_RETURN(
      const auto holder,
      db.QueryOne(
          "SELECT agent_id FROM agents WHERE (ek_sha256 = :ek"
          " OR ek_name = :name) AND agent_id <> :id",
          't',
          {SqlText(enrollment.ek_sha256),
           SqlText(HexEncode(enrollment.ek_name)), SqlText(id.ToString())}));
  bool may_have_id = !holder.has_value() &&
                     (!has_other_ek || (unclaimed && brings_token)) &&
                     (agent.wanted_ek_sha256.empty() ||
                      agent.wanted_ek_sha256 == enrollment.ek_sha256);
  if (may_have_id && agent.ek_vouched && !brings_token) {
    CUPEL_ASSIGN_OR_RETURN(may_have_id,
                           IsAllowedEk(db, agent.tenant, enrollment.ek_sha256));
  }
  if (!may_have_id) {
    return absl::AlreadyExistsError(
        "the id or the EK is taken: an id has one EK and an EK one id. Choose "
        "another id, or have an operator delete the old agent");
  }
  const bool is_known = known.has_value() && known->enrollment.has_value();
  if (unclaimed && brings_token) {
    CUPEL_RETURN_IF_ERROR(EnterTenant(db, *token_tenant, agent));
  }
  // An agent that has its tenant may go on sending one.
  if (brings_token && (unclaimed || !is_known)) {
    CUPEL_RETURN_IF_ERROR(
        db.Execute("DELETE FROM enrollment_tokens WHERE token_sha256 = :hash",
                   {SqlText(TokenHash(token))})
            .status());
  }
  if (agent.tenant.empty()) {
    CUPEL_ASSIGN_OR_RETURN(
        const auto others,
        db.Query("SELECT agent_id FROM agents WHERE tenant = ''"
                 " AND address = :address AND agent_id <> :id LIMIT :max",
                 "t",
                 {SqlText(enrollment.address), SqlText(id.ToString()),
                  SqlNumber(max_unclaimed_per_address)}));
    if (others.size() >= max_unclaimed_per_address) {
      return absl::ResourceExhaustedError(absl::StrCat(
          max_unclaimed_per_address,
          " agents of that address wait to be added: add them first"));
    }
  }
  const absl::Time first_time =
      is_known ? known->enrollment->time : enrollment.time;
  agent.enrollment = enrollment;
  // Or it would never expire.
  if (agent.tenant.empty()) agent.enrollment->time = first_time;
  ++agent.owner_epoch;
  if (agent.state == AgentState::kExpected) {
    MakePending(agent, "enrolled");
    agent.wanted_ek_sha256 = enrollment.ek_sha256;
    agent.ek_vouched = false;
  }
  CUPEL_RETURN_IF_ERROR(known.has_value() ? UpdateRow(db, agent)
                                          : InsertRow(db, agent));
  return WriteEvent(db, Now(), agent.tenant, id, previous, agent.state,
                    is_known && !has_other_ek ? "enrolled again" : "enrolled");
}

absl::Status SqlStore::EnterTenant(Connection& db, absl::string_view tenant,
                                   AgentRecord& agent) const {
  if (agent.tenant == tenant) return absl::OkStatus();
  CUPEL_RETURN_IF_ERROR(CheckAgentQuota(db, options_.quotas, tenant));
  agent.tenant = std::string(tenant);
  return absl::OkStatus();
}

absl::StatusOr<std::optional<std::string>> SqlStore::TenantOfToken(
    Connection& db, absl::string_view token) {
  if (token.empty()) return std::nullopt;
  CUPEL_ASSIGN_OR_RETURN(
      const auto tenant,
      db.QueryOne("SELECT tenant FROM enrollment_tokens"
                  " WHERE token_sha256 = :hash AND expires > :now",
                  't', {SqlText(TokenHash(token)), SqlTime(Now())}));
  if (!tenant.has_value()) return std::nullopt;
  return std::get<std::string>(*tenant);
}

absl::Status SqlStore::AddEnrollmentToken(absl::string_view tenant,
                                          absl::string_view token_sha256,
                                          absl::Time expires) {
  CUPEL_RETURN_IF_ERROR(CheckName(tenant, "tenant"));
  CUPEL_RETURN_IF_ERROR(CheckSha256(token_sha256, "token"));
  const absl::Time now = Now();
  return Write(
      Durability::kFull, {.changed = false, .id = {}},
      [&](Connection& db) -> absl::Status {
        // Those that have expired would count for nothing, and be kept.
        CUPEL_RETURN_IF_ERROR(
            db.Execute("DELETE FROM enrollment_tokens"
                       " WHERE tenant = :tenant AND expires <= :now",
                       {SqlText(tenant), SqlTime(now)})
                .status());
        CUPEL_RETURN_IF_ERROR(
            CheckTokenQuota(db, options_.quotas, tenant, now));
        return db
            .Execute(
                "INSERT INTO enrollment_tokens"
                " (token_sha256, tenant, expires) VALUES (:hash, :t, :time)",
                {SqlText(token_sha256), SqlText(tenant), SqlTime(expires)})
            .status();
      });
}

absl::Status SqlStore::Expire(absl::Time before) {
  // Nobody's session depends on what is forgotten here, but for agents.
  Change change{.changed = false, .id = {}};
  return Write(Durability::kFull, change, [&](Connection& db) -> absl::Status {
    // A nonce that is forgotten could be used again: from now on the time of
    // its cookie's issue speaks against it. No cookie was issued later than
    // now.
    const SqlValue time = SqlTime(before);
    const SqlValue floor = SqlTime(std::min(before, Now()));
    CUPEL_RETURN_IF_ERROR(
        db.Execute("UPDATE sequences SET value = :floor"
                   " WHERE name = 'forgotten' AND value < :same",
                   {floor, floor})
            .status());
    for (const char* const sql :
         {"DELETE FROM nonces WHERE consumed < :before",
          "DELETE FROM deletions WHERE deleted < :before",
          "DELETE FROM enrollment_tokens WHERE expires < :before",
          "DELETE FROM events WHERE tenant = '' AND time < :before"}) {
      CUPEL_RETURN_IF_ERROR(db.Execute(sql, {time}).status());
    }
    CUPEL_ASSIGN_OR_RETURN(
        const uint64_t agents,
        db.Execute(
            "DELETE FROM agents WHERE tenant = '' AND enrolled_at < :before",
            {time}));
    change.changed = agents > 0;
    return absl::OkStatus();
  });
}

// --- Operators.

absl::StatusOr<AgentRecord> SqlStore::AddAgent(absl::string_view tenant,
                                               const AgentId& id,
                                               const AgentSettings& settings,
                                               absl::string_view ek_sha256,
                                               absl::string_view who) {
  if (!ek_sha256.empty()) {
    CUPEL_RETURN_IF_ERROR(CheckSha256(ek_sha256, "EK"));
  }
  const auto bind = [&](Connection&, AgentRecord& agent) -> absl::Status {
    agent.wanted_ek_sha256 = std::string(ek_sha256);
    if (!agent.enrollment.has_value()) return absl::OkStatus();
    if (!ek_sha256.empty() && agent.enrollment->ek_sha256 != ek_sha256) {
      if (!agent.tenant.empty()) {
        return absl::FailedPreconditionError(
            absl::StrCat("agent ", id.ToString(),
                         " has enrolled with another EK, by a token of yours"));
      }
      // Whoever was there first has shown nothing but that: the operator knows
      // the machine [A21].
      agent.enrollment.reset();
      ++agent.owner_epoch;
      return absl::OkStatus();
    }
    agent.wanted_ek_sha256 = agent.enrollment->ek_sha256;
    return absl::OkStatus();
  };
  return Add(tenant, id, settings, bind, who);
}

absl::StatusOr<AgentRecord> SqlStore::AddVouchedAgent(
    absl::string_view tenant, const AgentId& id, const AgentSettings& settings,
    absl::string_view who) {
  const auto bind = [&](Connection& db, AgentRecord& agent) -> absl::Status {
    if (!agent.enrollment.has_value()) {
      agent.ek_vouched = true;
      return absl::OkStatus();
    }
    agent.wanted_ek_sha256 = agent.enrollment->ek_sha256;
    if (!agent.tenant.empty()) return absl::OkStatus();  // by its token
    CUPEL_ASSIGN_OR_RETURN(
        const bool allowed,
        IsAllowedEk(db, tenant, agent.enrollment->ek_sha256));
    if (allowed) return absl::OkStatus();
    return absl::FailedPreconditionError(absl::StrCat(
        "nothing vouches for the EK of agent ", id.ToString(),
        ": no token of yours has brought it, nor is it on your list"));
  };
  return Add(tenant, id, settings, bind, who);
}

absl::StatusOr<AgentRecord> SqlStore::Add(absl::string_view tenant,
                                          const AgentId& id,
                                          const AgentSettings& settings,
                                          EkBinding binding,
                                          absl::string_view who) {
  CUPEL_RETURN_IF_ERROR(CheckName(tenant, "tenant"));
  CUPEL_RETURN_IF_ERROR(CheckText(who, "operator"));
  CUPEL_RETURN_IF_ERROR(CheckSettings(settings));
  absl::StatusOr<AgentRecord> added = absl::InternalError("store: not read");
  const auto body = [&](Connection& db) -> absl::Status {
    CUPEL_ASSIGN_OR_RETURN(auto known, MaybeAgent(db, id));
    // Another tenant's agent is told apart by nothing but that its id is taken.
    if (known.has_value() &&
        (known->state != AgentState::kEnrolled ||
         (!known->tenant.empty() && known->tenant != tenant))) {
      return absl::AlreadyExistsError(
          absl::StrCat("agent ", id.ToString(), " has been added already"));
    }
    AgentRecord agent = known.has_value() ? *known : AgentRecord{.id = id};
    const AgentState previous =
        known.has_value() ? known->state : AgentState::kExpected;
    CUPEL_RETURN_IF_ERROR(binding(db, agent));
    agent.state = AgentState::kExpected;
    agent.state_reason = By("added", who);
    if (agent.enrollment.has_value()) MakePending(agent, agent.state_reason);
    CUPEL_RETURN_IF_ERROR(EnterTenant(db, tenant, agent));
    agent.settings = settings;
    ++agent.policy_epoch;
    CUPEL_RETURN_IF_ERROR(known.has_value() ? UpdateRow(db, agent)
                                            : InsertRow(db, agent));
    CUPEL_RETURN_IF_ERROR(WriteNames(db, agent));
    CUPEL_RETURN_IF_ERROR(WriteEvent(db, Now(), tenant, id, previous,
                                     agent.state, agent.state_reason));
    added = ReadAgent(db, id);
    return added.status();
  };
  CUPEL_RETURN_IF_ERROR(Write(Durability::kFull, {.id = id}, body));
  return added;
}

absl::Status SqlStore::UpdateAgent(absl::string_view tenant, const AgentId& id,
                                   SettingsChange change_settings,
                                   absl::string_view who) {
  CUPEL_RETURN_IF_ERROR(CheckName(tenant, "tenant"));
  CUPEL_RETURN_IF_ERROR(CheckText(who, "operator"));
  return Write(
      Durability::kFull, {.id = id}, [&](Connection& db) -> absl::Status {
        CUPEL_ASSIGN_OR_RETURN(AgentRecord agent, ReadAgentOf(db, tenant, id));
        if (agent.state == AgentState::kEnrolled) {
          return StateForbids(id, agent.state, "add it first");
        }
        const AgentState previous = agent.state;
        const std::string text = By("settings changed", who);
        CUPEL_RETURN_IF_ERROR(change_settings(agent.settings));
        CUPEL_RETURN_IF_ERROR(CheckSettings(agent.settings));
        Unsettle(agent, text);
        CUPEL_RETURN_IF_ERROR(UpdateRow(db, agent));
        CUPEL_RETURN_IF_ERROR(WriteNames(db, agent));
        return WriteEvent(db, Now(), tenant, id, previous, agent.state, text);
      });
}

absl::Status SqlStore::DeleteAgent(absl::string_view tenant, const AgentId& id,
                                   absl::string_view who) {
  CUPEL_RETURN_IF_ERROR(CheckName(tenant, "tenant"));
  CUPEL_RETURN_IF_ERROR(CheckText(who, "operator"));
  return Write(Durability::kFull, {.id = id},
               [&](Connection& db) -> absl::Status {
                 CUPEL_ASSIGN_OR_RETURN(const AgentRecord agent,
                                        ReadAgentOf(db, tenant, id));
                 const std::string text = id.ToString();
                 CUPEL_RETURN_IF_ERROR(
                     db.Execute("DELETE FROM agents WHERE agent_id = :id",
                                {SqlText(text)})
                         .status());
                 CUPEL_RETURN_IF_ERROR(
                     db.Execute("DELETE FROM deletions WHERE agent_id = :id",
                                {SqlText(text)})
                         .status());
                 CUPEL_RETURN_IF_ERROR(
                     db.Execute("INSERT INTO deletions (agent_id, deleted)"
                                " VALUES (:id, :time)",
                                {SqlText(text), SqlTime(Now())})
                         .status());
                 return WriteEvent(db, Now(), tenant, id, agent.state,
                                   agent.state, By("deleted", who));
               });
}

absl::Status SqlStore::Reactivate(absl::string_view tenant, const AgentId& id,
                                  const Reactivation& reactivation,
                                  absl::string_view who) {
  CUPEL_RETURN_IF_ERROR(CheckName(tenant, "tenant"));
  CUPEL_RETURN_IF_ERROR(CheckText(who, "operator"));
  CUPEL_RETURN_IF_ERROR(
      CheckText(reactivation.boot_composite, "boot composite"));
  CUPEL_RETURN_IF_ERROR(CheckText(reactivation.why, "reason"));
  return Write(
      Durability::kFull, {.id = id}, [&](Connection& db) -> absl::Status {
        CUPEL_ASSIGN_OR_RETURN(AgentRecord agent, ReadAgentOf(db, tenant, id));
        const AgentState previous = agent.state;
        const bool is_over =
            previous == AgentState::kFailed || previous == AgentState::kStopped;
        const bool only_approves = !reactivation.boot_composite.empty() &&
                                   reactivation.accepted.empty() &&
                                   !reactivation.reset_counters;
        if (!is_over && !(previous == AgentState::kPending && only_approves)) {
          return StateForbids(id, agent.state,
                              "only FAILED and STOPPED are reactivated");
        }
        std::string text = By(is_over ? "reactivated" : "boot approved", who);
        if (!reactivation.why.empty()) {
          absl::StrAppend(&text, ": ", reactivation.why);
        }
        ++agent.policy_epoch;
        if (is_over) {
          MakePending(agent, text);
          if (!agent.enrollment.has_value()) {
            agent.state = AgentState::kExpected;
            agent.valid_until.reset();
          }
          // All of the list is judged again, and what was held against the
          // machine's history still is: it would be washed off otherwise.
          agent.progress.key.clear();
          if (reactivation.reset_counters) {
            agent.clock_info.reset();
            // It is about counters: which PCRs the list has to account for is
            // known as before.
            Progress fresh;
            fresh.list_pcrs = agent.progress.list_pcrs;
            agent.progress = std::move(fresh);
          }
        }
        agent.state_reason = text;
        if (!reactivation.boot_composite.empty()) {
          agent.pinned_boot_composite = reactivation.boot_composite;
        }
        for (AcceptedFinding finding : reactivation.accepted) {
          if (finding.who.empty()) finding.who = std::string(who);
          if (finding.time == absl::Time()) finding.time = Now();
          agent.accepted.push_back(std::move(finding));
        }
        CUPEL_RETURN_IF_ERROR(UpdateRow(db, agent));
        return WriteEvent(db, Now(), tenant, id, previous, agent.state, text);
      });
}

absl::Status SqlStore::StopAgent(absl::string_view tenant, const AgentId& id,
                                 absl::string_view who) {
  CUPEL_RETURN_IF_ERROR(CheckName(tenant, "tenant"));
  CUPEL_RETURN_IF_ERROR(CheckText(who, "operator"));
  Change change{.id = id};
  return Write(Durability::kFull, change, [&](Connection& db) -> absl::Status {
    CUPEL_ASSIGN_OR_RETURN(AgentRecord agent, ReadAgentOf(db, tenant, id));
    if (agent.state == AgentState::kEnrolled) {
      return StateForbids(id, agent.state, "add it first");
    }
    if (agent.state == AgentState::kStopped) {
      change.changed = false;
      return absl::OkStatus();
    }
    const AgentState previous = agent.state;
    agent.state = AgentState::kStopped;
    agent.state_reason = By("stopped", who);
    agent.valid_until.reset();
    ++agent.policy_epoch;
    CUPEL_RETURN_IF_ERROR(UpdateRow(db, agent));
    return WriteEvent(db, Now(), tenant, id, previous, agent.state,
                      agent.state_reason);
  });
}

absl::StatusOr<AgentRecord> SqlStore::GetAgent(absl::string_view tenant,
                                               const AgentId& id) {
  CUPEL_RETURN_IF_ERROR(CheckName(tenant, "tenant"));
  Locked& locked = reader();
  const std::lock_guard lock(locked.mutex);
  return ReadAgentOf(*locked.connection, tenant, id);
}

absl::StatusOr<std::vector<AgentRecord>> SqlStore::ListAgents(
    const AgentFilter& filter) {
  CUPEL_RETURN_IF_ERROR(CheckName(filter.tenant, "tenant"));
  auto [condition, values] = ConditionOf(filter);
  Locked& locked = reader();
  const std::lock_guard lock(locked.mutex);
  return QueryAgents(*locked.connection, condition, std::move(values));
}

absl::StatusOr<std::vector<AgentId>> SqlStore::ListAgentIds(
    const AgentFilter& filter) {
  CUPEL_RETURN_IF_ERROR(CheckName(filter.tenant, "tenant"));
  auto [condition, values] = ConditionOf(filter);
  Locked& locked = reader();
  const std::lock_guard lock(locked.mutex);
  CUPEL_ASSIGN_OR_RETURN(
      const auto rows,
      locked.connection->Query(
          absl::StrCat("SELECT agent_id FROM agents ", condition), "t",
          std::move(values)));
  std::vector<AgentId> ids;
  ids.reserve(rows.size());
  for (const SqlRow& row : rows) {
    RowReader in(row);
    CUPEL_ASSIGN_OR_RETURN(const AgentId id, IdFromSql(in.Text()));
    CUPEL_RETURN_IF_ERROR(in.status());
    ids.push_back(id);
  }
  return ids;
}

absl::StatusOr<std::vector<AgentRecord>> SqlStore::ListUnclaimed() {
  Locked& locked = reader();
  const std::lock_guard lock(locked.mutex);
  return QueryAgents(*locked.connection, "WHERE tenant = '' ORDER BY agent_id",
                     {});
}

absl::StatusOr<std::map<AgentState, uint64_t>> SqlStore::CountAgents() {
  Locked& locked = reader();
  const std::lock_guard lock(locked.mutex);
  // Both are answered by an index alone. A validity that ends at this moment
  // has ended, as for StateAt.
  CUPEL_ASSIGN_OR_RETURN(
      const auto rows,
      locked.connection->Query(
          "SELECT CASE WHEN state = 4 AND valid_until <= :now THEN 3"
          " ELSE state END AS shown, COUNT(*) FROM agents GROUP BY shown",
          "ii", {SqlTime(Now())}));
  std::map<AgentState, uint64_t> counts;
  for (const SqlRow& row : rows) {
    RowReader in(row);
    const uint64_t state = in.Number();
    const uint64_t count = in.Number();
    CUPEL_RETURN_IF_ERROR(in.status());
    if (!IsState(state)) {
      return absl::DataLossError(
          absl::StrCat("store: an agent has the state ", state));
    }
    counts[StateFromSql(state)] = count;
  }
  return counts;
}

absl::Status SqlStore::AllowEks(absl::string_view tenant,
                                std::span<const std::string> ek_sha256,
                                absl::string_view who) {
  CUPEL_RETURN_IF_ERROR(CheckName(tenant, "tenant"));
  CUPEL_RETURN_IF_ERROR(CheckText(who, "operator"));
  for (const std::string& ek : ek_sha256) {
    CUPEL_RETURN_IF_ERROR(CheckSha256(ek, "EK"));
  }
  return Write(
      Durability::kFull, {.changed = false, .id = {}},
      [&](Connection& db) -> absl::Status {
        CUPEL_ASSIGN_OR_RETURN(const uint64_t before,
                               CountAllowedEks(db, tenant));
        if (before >= options_.quotas.max_allowed_eks) {
          // Refused before thousands are written and taken back.
          CUPEL_RETURN_IF_ERROR(
              CheckNoNewEk(db, options_.quotas, tenant, ek_sha256, before));
        }
        CUPEL_RETURN_IF_ERROR(
            InsertAllowedEks(db, tenant, ek_sha256, who, Now()));
        return CheckAllowedEkQuota(db, options_.quotas, tenant, before);
      });
}

absl::Status SqlStore::DisallowEks(absl::string_view tenant,
                                   std::span<const std::string> ek_sha256,
                                   absl::string_view who) {
  CUPEL_RETURN_IF_ERROR(CheckName(tenant, "tenant"));
  CUPEL_RETURN_IF_ERROR(CheckText(who, "operator"));
  return Write(
      Durability::kFull, {.changed = false, .id = {}},
      [&](Connection& db) { return DeleteAllowedEks(db, tenant, ek_sha256); });
}

absl::StatusOr<std::vector<AllowedEk>> SqlStore::ListAllowedEks(
    absl::string_view tenant, absl::string_view after, uint32_t limit) {
  CUPEL_RETURN_IF_ERROR(CheckName(tenant, "tenant"));
  Locked& locked = reader();
  const std::lock_guard lock(locked.mutex);
  return QueryAllowedEks(*locked.connection, tenant, after, limit);
}

// --- Policies.

absl::StatusOr<PolicyRecord> SqlStore::PutPolicy(absl::string_view tenant,
                                                 absl::string_view name,
                                                 std::span<const uint8_t> file,
                                                 uint64_t digest_count,
                                                 bool create,
                                                 absl::string_view who) {
  CUPEL_RETURN_IF_ERROR(CheckName(tenant, "tenant"));
  CUPEL_RETURN_IF_ERROR(CheckName(name, "policy's name"));
  CUPEL_RETURN_IF_ERROR(CheckManagedPolicy(tenant, name));
  CUPEL_RETURN_IF_ERROR(CheckText(who, "operator"));
  if (file.empty()) return absl::InvalidArgumentError("the policy is empty");
  PolicyRecord policy;
  policy.tenant = std::string(tenant);
  policy.name = std::string(name);
  policy.content_id = crypto::Hash(crypto::HashAlgorithm::kSha256, file).Hex();
  policy.file = ToVector(file);
  policy.size = file.size();
  policy.digest_count = digest_count;
  policy.created = Now();
  const auto body = [&](Connection& db) -> absl::Status {
    CUPEL_ASSIGN_OR_RETURN(
        const auto rows,
        db.Query("SELECT version FROM policies WHERE tenant = :tenant"
                 " AND name = :name",
                 "i", {SqlText(tenant), SqlText(name)}));
    if (create && !rows.empty()) {
      return absl::AlreadyExistsError(absl::StrCat(
          "there is a policy ", Quoted(name), " already: update it"));
    }
    if (!create && rows.empty()) return NoSuchPolicy(name);
    if (create) {
      CUPEL_RETURN_IF_ERROR(CheckPolicyQuota(db, options_.quotas, tenant));
    }
    CUPEL_RETURN_IF_ERROR(
        CheckPolicyBytesQuota(db, options_.quotas, tenant, name, policy.size));
    if (create) {
      policy.version = 1;
      return db
          .Execute(
              "INSERT INTO policies (tenant, name, version, content_id,"
              " created, size, digest_count, file) VALUES (:tenant, :name, 1,"
              " :content, :created, :size, :digests, :file)",
              {SqlText(tenant), SqlText(name), SqlText(policy.content_id),
               SqlTime(policy.created), SqlNumber(policy.size),
               SqlNumber(digest_count), policy.file})
          .status();
    }
    RowReader version(rows.front());
    policy.version = version.Number() + 1;
    CUPEL_RETURN_IF_ERROR(version.status());
    CUPEL_RETURN_IF_ERROR(
        db.Execute("UPDATE policies SET version = :version,"
                   " content_id = :content, created = :created, size = :size,"
                   " digest_count = :digests, file = :file"
                   " WHERE tenant = :tenant AND name = :name",
                   {SqlNumber(policy.version), SqlText(policy.content_id),
                    SqlTime(policy.created), SqlNumber(policy.size),
                    SqlNumber(digest_count), policy.file, SqlText(tenant),
                    SqlText(name)})
            .status());
    const std::string text =
        By(absl::StrCat("policy ", QualifiedPolicyName(tenant, name),
                        " changed to version ", policy.version),
           who);
    constexpr char kNaming[] =
        "agent_id IN (SELECT agent_id FROM agent_policies"
        " WHERE tenant = :tenant AND name = :name)";
    CUPEL_ASSIGN_OR_RETURN(
        const auto trusted,
        db.Query(absl::StrCat("SELECT agent_id, tenant FROM agents"
                              " WHERE state = 4 AND ",
                              kNaming, " ORDER BY agent_id"),
                 "tt", {SqlText(tenant), SqlText(name)}));
    for (const SqlRow& row : trusted) {
      RowReader in(row);
      CUPEL_ASSIGN_OR_RETURN(const AgentId id, IdFromSql(in.Text()));
      const std::string owner = in.Text();  // not `tenant`, of a shared policy
      CUPEL_RETURN_IF_ERROR(in.status());
      CUPEL_RETURN_IF_ERROR(WriteEvent(db, Now(), owner, id,
                                       AgentState::kTrusted,
                                       AgentState::kPending, text));
    }
    CUPEL_RETURN_IF_ERROR(
        db.Execute(absl::StrCat("UPDATE agents SET state = 3,"
                                " valid_until = :until, state_reason = :reason"
                                " WHERE state = 4 AND ",
                                kNaming),
                   {SqlTime(PendingUntil()), SqlText(text), SqlText(tenant),
                    SqlText(name)})
            .status());
    return db
        .Execute(absl::StrCat("UPDATE agents SET"
                              " policy_epoch = policy_epoch + 1 WHERE ",
                              kNaming),
                 {SqlText(tenant), SqlText(name)})
        .status();
  };
  CUPEL_RETURN_IF_ERROR(Write(Durability::kFull, {}, body));
  return policy;
}

absl::Status SqlStore::DeletePolicy(absl::string_view tenant,
                                    absl::string_view name,
                                    absl::string_view who) {
  CUPEL_RETURN_IF_ERROR(CheckName(tenant, "tenant"));
  CUPEL_RETURN_IF_ERROR(CheckManagedPolicy(tenant, name));
  CUPEL_RETURN_IF_ERROR(CheckText(who, "operator"));
  return Write(Durability::kFull, {}, [&](Connection& db) -> absl::Status {
    CUPEL_ASSIGN_OR_RETURN(
        const uint64_t count,
        CountNaming(db, tenant, ResolvePolicyName(tenant, name)));
    if (count > 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("policy ", Quoted(name), " is in use by ", count,
                       count == 1 ? " agent" : " agents"));
    }
    CUPEL_ASSIGN_OR_RETURN(
        const uint64_t rows,
        db.Execute(
            "DELETE FROM policies WHERE tenant = :tenant AND name = :name",
            {SqlText(tenant), SqlText(name)}));
    return rows == 0 ? NoSuchPolicy(name) : absl::OkStatus();
  });
}

absl::StatusOr<PolicyRecord> SqlStore::GetPolicy(absl::string_view tenant,
                                                 absl::string_view name) {
  CUPEL_RETURN_IF_ERROR(CheckName(tenant, "tenant"));
  const PolicyKey key = ResolvePolicyName(tenant, name);
  Locked& locked = reader();
  const std::lock_guard lock(locked.mutex);
  CUPEL_ASSIGN_OR_RETURN(
      const auto rows,
      locked.connection->Query(absl::StrCat("SELECT ", kPolicyColumns,
                                            ", file FROM policies"
                                            " WHERE tenant = :tenant"
                                            " AND name = :name"),
                               absl::StrCat(kPolicyTypes, "b"),
                               {SqlText(key.tenant), SqlText(key.name)}));
  if (rows.empty()) return NoSuchPolicy(name);
  return PolicyFromRow(rows.front(), /*has_file=*/true, tenant);
}

absl::StatusOr<std::string> SqlStore::PolicyContentId(absl::string_view tenant,
                                                      absl::string_view name) {
  CUPEL_RETURN_IF_ERROR(CheckName(tenant, "tenant"));
  const PolicyKey key = ResolvePolicyName(tenant, name);
  Locked& locked = reader();
  const std::lock_guard lock(locked.mutex);
  // The column stands before the file.
  CUPEL_ASSIGN_OR_RETURN(auto content_id,
                         locked.connection->QueryOne(
                             "SELECT content_id FROM policies"
                             " WHERE tenant = :tenant AND name = :name",
                             't', {SqlText(key.tenant), SqlText(key.name)}));
  if (!content_id.has_value()) return NoSuchPolicy(name);
  return std::get<std::string>(*std::move(content_id));
}

absl::StatusOr<std::vector<PolicyRecord>> SqlStore::ListPolicies(
    absl::string_view tenant) {
  CUPEL_RETURN_IF_ERROR(CheckName(tenant, "tenant"));
  Locked& locked = reader();
  const std::lock_guard lock(locked.mutex);
  CUPEL_ASSIGN_OR_RETURN(
      const auto rows,
      locked.connection->Query(
          absl::StrCat("SELECT ", kPolicyColumns,
                       " FROM policies WHERE tenant IN (:tenant, :shared)"
                       " ORDER BY CASE WHEN tenant = :same THEN 0 ELSE 1 END,"
                       " name"),
          kPolicyTypes,
          {SqlText(tenant), SqlText(kSharedTenant), SqlText(tenant)}));
  std::vector<PolicyRecord> policies;
  policies.reserve(rows.size());
  for (const SqlRow& row : rows) {
    CUPEL_ASSIGN_OR_RETURN(PolicyRecord policy,
                           PolicyFromRow(row, /*has_file=*/false, tenant));
    policies.push_back(std::move(policy));
  }
  return policies;
}

absl::StatusOr<uint64_t> SqlStore::CountAgentsWithPolicy(
    absl::string_view tenant, absl::string_view name) {
  CUPEL_RETURN_IF_ERROR(CheckName(tenant, "tenant"));
  Locked& locked = reader();
  const std::lock_guard lock(locked.mutex);
  return CountNaming(*locked.connection, tenant,
                     ResolvePolicyName(tenant, name));
}

// --- Sessions.

absl::StatusOr<AgentRecord> SqlStore::FindAgent(const AgentId& id) {
  Locked& locked = reader();
  const std::lock_guard lock(locked.mutex);
  CUPEL_ASSIGN_OR_RETURN(AgentRecord agent, ReadAgent(*locked.connection, id));
  if (!agent.enrollment.has_value()) return NoSuchAgent(id);
  return agent;
}

absl::StatusOr<AgentRecord> SqlStore::ClaimAgent(const AgentId& id,
                                                 absl::string_view owner) {
  CUPEL_RETURN_IF_ERROR(CheckText(owner, "owner"));
  absl::StatusOr<AgentRecord> agent = absl::InternalError("store: not read");
  const auto body = [&](Connection& db) -> absl::Status {
    CUPEL_ASSIGN_OR_RETURN(
        const uint64_t rows,
        db.Execute("UPDATE agents SET owner_epoch = owner_epoch + 1,"
                   " owner = :owner WHERE agent_id = :id"
                   " AND ek_sha256 IS NOT NULL",
                   {SqlText(owner), SqlText(id.ToString())}));
    if (rows == 0) return NoSuchAgent(id);
    agent = ReadAgent(db, id);
    return agent.status();
  };
  // A power cut that takes the claim back has ended its owner too.
  CUPEL_RETURN_IF_ERROR(Write(Durability::kNormal, {.id = id}, body));
  return agent;
}

absl::StatusOr<AgentRecord> SqlStore::RecordVerdict(const VerdictWrite& write) {
  CUPEL_ASSIGN_OR_RETURN(RecordedVerdict recorded,
                         std::move(WriteVerdicts({&write, 1}).front()));
  if (recorded.record.has_value()) return *std::move(recorded.record);
  const std::lock_guard lock(writer_.mutex);
  return ReadAgent(*writer_.connection, write.id);
}

std::vector<absl::StatusOr<RecordedVerdict>> SqlStore::RecordVerdicts(
    std::span<const VerdictWrite> writes) {
  return WriteVerdicts(writes);
}

// A verdict among those that are written together.
struct SqlStore::GroupedVerdict {
  const VerdictWrite& write;
  absl::StatusOr<RecordedVerdict> result = RecordedVerdict{};
  bool is_settled = false;  // `result` is what came of it
  bool is_change = false;

  void Settle(absl::StatusOr<RecordedVerdict> what) {
    result = std::move(what);
    is_settled = true;
  }
};

std::vector<absl::StatusOr<RecordedVerdict>> SqlStore::WriteVerdicts(
    std::span<const VerdictWrite> writes) {
  std::vector<GroupedVerdict> group;
  group.reserve(writes.size());
  for (const VerdictWrite& write : writes) {
    group.push_back(GroupedVerdict{.write = write});
    if (absl::Status status = CheckVerdict(write); !status.ok()) {
      group.back().Settle(std::move(status));
    }
  }
  const absl::Time now = Now();
  {
    const std::lock_guard lock(writer_.mutex);
    // Only this process writes, so what is no renewal now is none a moment
    // later.
    for (const auto& each :
         {std::pair(Durability::kNormal, &SqlStore::RenewVerdict),
          std::pair(Durability::kFull, &SqlStore::ChangeVerdict)}) {
      const auto step = each.second;
      std::vector<GroupedVerdict*> part;
      for (GroupedVerdict& one : group) {
        if (!one.is_settled) part.push_back(&one);
      }
      if (part.empty()) break;
      const absl::Status written =
          WriteLocked(each.first, [&](Connection& db) -> absl::Status {
            // What waits for the next step has the agent's later verdicts wait.
            absl::flat_hash_set<AgentId> later;
            for (GroupedVerdict* const one : part) {
              if (later.contains(one->write.id)) continue;
              CUPEL_RETURN_IF_ERROR((this->*step)(db, now, *one));
              if (!one->is_settled) later.insert(one->write.id);
            }
            return absl::OkStatus();
          });
      if (written.ok()) continue;
      for (GroupedVerdict* const one : part) {
        if (one->result.ok()) one->Settle(written);
      }
    }
  }
  std::vector<absl::StatusOr<RecordedVerdict>> results;
  results.reserve(group.size());
  for (GroupedVerdict& one : group) {
    if (one.result.ok() && one.is_change) Notify({.id = one.write.id});
    results.push_back(std::move(one.result));
  }
  return results;
}

// Settles a verdict that only renews what the record says, by one statement.
// Leaves any other one, and one that the fence refuses. Errors are the group's.
absl::Status SqlStore::RenewVerdict(Connection& db, absl::Time now,
                                    GroupedVerdict& one) {
  const VerdictWrite& write = one.write;
  if (write.findings.has_value() || write.is_event ||
      write.state == AgentState::kPending) {
    return absl::OkStatus();
  }
  std::vector<SqlValue> values = VerdictValues(write, write.valid_until, now);
  AddFence(write, values);
  values.push_back(SqlNumber(write.state.has_value() ? 0 : 1));
  values.push_back(StateToSql(write.state.value_or(AgentState::kPending)));
  static const auto& sql = *new std::string(absl::StrCat(
      kSetVerdict, kFence, " AND (:any = 1 OR state = :same_state)"));
  const absl::StatusOr<uint64_t> rows = db.Execute(sql, std::move(values));
  // SQLite may have ended the transaction, and with it what was before.
  if (absl::IsUnavailable(rows.status())) return rows.status();
  if (!rows.ok()) {
    one.Settle(rows.status());
  } else if (*rows > 0) {
    one.Settle(RecordedVerdict{.time = now});
  }
  return absl::OkStatus();
}

absl::StatusOr<RecordedVerdict> SqlStore::ChangeIn(Connection& db,
                                                   absl::Time now,
                                                   const VerdictWrite& write) {
  const std::string id = write.id.ToString();
  CUPEL_ASSIGN_OR_RETURN(
      const auto rows,
      db.Query("SELECT tenant, state, owner_epoch, policy_epoch, findings"
               " FROM agents WHERE agent_id = :id",
               "tiiib", {SqlText(id)}));
  if (rows.empty()) return NoSuchAgent(write.id);
  RowReader in(rows.front());
  const std::string tenant = in.Text();
  const AgentState previous = StateFromSql(in.Number());
  const uint64_t owner_epoch = in.Number();
  const uint64_t policy_epoch = in.Number();
  const SqlBytes known_findings = in.Bytes();
  CUPEL_RETURN_IF_ERROR(in.status());

  const bool has_findings = write.findings.has_value();
  std::vector<Finding> findings =
      write.findings.value_or(std::vector<Finding>());
  // A failure that came late may have been added since the writer read the
  // record [A31].
  if (has_findings && previous == AgentState::kFailed) {
    CUPEL_ASSIGN_OR_RETURN(const std::vector<Finding> known,
                           DecodeFindings(known_findings));
    findings = MergeFindings(findings, known);
  }
  const SqlBytes encoded_findings =
      EncodeFindings(Bounded(findings, kRecordBounds));
  std::optional<absl::Time> valid_until = write.valid_until;
  if (write.state == AgentState::kFailed) valid_until.reset();
  if (write.state == AgentState::kPending) valid_until = PendingUntil();
  std::vector<SqlValue> values = VerdictValues(write, valid_until, now);
  values.push_back(has_findings || write.state == AgentState::kTrusted
                       ? SqlValue(encoded_findings)
                       : SqlValue());
  values.push_back(write.state.has_value() ? StateToSql(*write.state)
                                           : SqlValue());
  AddFence(write, values);
  values.push_back(SqlNumber(write.state.has_value() ? 1 : 0));
  static const auto& sql = *new std::string(
      absl::StrCat(kSetVerdict,
                   ", findings = COALESCE(:findings, findings),"
                   " state = COALESCE(:state, state)",
                   kFence, " AND (:changes_state = 0 OR state IN (3, 4))"));
  CUPEL_ASSIGN_OR_RETURN(const uint64_t written,
                         db.Execute(sql, std::move(values)));
  if (written == 0) {
    return absl::AbortedError(absl::StrCat(
        "agent ", id, ": ",
        owner_epoch != write.owner_epoch ? "another stream has taken it over"
        : policy_epoch != write.policy_epoch
            ? "its settings or policies have changed meanwhile"
            : absl::StrCat("no verdict changes the state ",
                           AgentStateName(previous))));
  }
  const AgentState state = write.state.value_or(previous);
  if (state != previous || write.is_event ||
      (has_findings && encoded_findings != known_findings)) {
    CUPEL_RETURN_IF_ERROR(WriteEvent(db, now, tenant, write.id, previous, state,
                                     StorableReason(write), findings,
                                     /*of_findings=*/state == previous,
                                     write.policies));
  }
  CUPEL_ASSIGN_OR_RETURN(AgentRecord record, ReadAgent(db, write.id));
  return RecordedVerdict{
      .time = now, .record = std::move(record), .previous = previous};
}

// Settles a verdict, whatever it is. What is wrong with it alone takes back
// what was written of it, and of it alone; errors are the group's.
absl::Status SqlStore::ChangeVerdict(Connection& db, absl::Time now,
                                     GroupedVerdict& one) {
  CUPEL_RETURN_IF_ERROR(db.Execute("SAVEPOINT verdict").status());
  absl::StatusOr<RecordedVerdict> recorded = ChangeIn(db, now, one.write);
  // SQLite may have ended the transaction, and with it what was before.
  if (absl::IsUnavailable(recorded.status())) return recorded.status();
  one.is_change = recorded.ok();
  if (!recorded.ok()) {
    CUPEL_RETURN_IF_ERROR(db.Execute("ROLLBACK TO verdict").status());
  }
  one.Settle(std::move(recorded));
  return db.Execute("RELEASE verdict").status();
}

absl::StatusOr<RecordedVerdict> SqlStore::RecordLateFailure(
    const VerdictWrite& write, const LateFailure& late) {
  if (!write.findings.has_value()) {
    return absl::InvalidArgumentError("store: a failure without findings");
  }
  CUPEL_RETURN_IF_ERROR(CheckText(late.owner, "owner"));
  RecordedVerdict recorded{.time = Now()};
  const auto body = [&](Connection& db) -> absl::Status {
    CUPEL_ASSIGN_OR_RETURN(const AgentRecord agent, ReadAgent(db, write.id));
    if (!agent.enrollment.has_value() ||
        !std::ranges::equal(agent.enrollment->ek_name, late.ek_name)) {
      return absl::AbortedError(absl::StrCat("agent ", agent.id.ToString(),
                                             ": it has another EK by now"));
    }
    // Epochs begin anew with an agent [A19].
    if (agent.tenant != late.tenant || agent.owner_epoch < write.owner_epoch) {
      return absl::AbortedError(absl::StrCat("agent ", agent.id.ToString(),
                                             ": it was added anew since"));
    }
    recorded.previous = agent.state;
    const std::vector<Finding> merged =
        MergeFindings(*write.findings, agent.findings);
    CUPEL_ASSIGN_OR_RETURN(
        const uint64_t rows,
        db.Execute(
            "UPDATE agents SET state = :state, valid_until = NULL,"
            " state_reason = CASE WHEN state = :same THEN state_reason"
            " ELSE :reason END,"
            " findings = :findings,"
            " clock_info = COALESCE(clock_info, :clock),"
            " judged_policies = COALESCE(:policies, judged_policies)"
            " WHERE agent_id = :id AND owner = :owner"
            " AND policy_epoch = :policy",
            {StateToSql(AgentState::kFailed), StateToSql(AgentState::kFailed),
             SqlText(StorableReason(write)),
             EncodeFindings(Bounded(merged, kRecordBounds)),
             ClockToSql(write.clock_info), JudgedToSql(write.policies),
             SqlText(write.id.ToString()), SqlText(late.owner),
             SqlNumber(write.policy_epoch)}));
    const AgentState state = rows == 0 ? agent.state : AgentState::kFailed;
    // What is on record already is no news, however often it is brought.
    if (rows > 0 && agent.state == AgentState::kFailed &&
        EncodeFindings(Bounded(merged, kRecordBounds)) ==
            EncodeFindings(Bounded(agent.findings, kRecordBounds))) {
      recorded.record = agent;
      return absl::OkStatus();
    }
    const absl::string_view what =
        rows > 0 ? "found by a stream that another one has taken over from: "
        : agent.policy_epoch != write.policy_epoch
            ? "judged by settings or policies that have changed since: "
            : "found by a verifier that another one has taken over from: ";
    CUPEL_RETURN_IF_ERROR(WriteEvent(
        db, recorded.time, agent.tenant, agent.id, agent.state, state,
        absl::StrCat(what, StorableReason(write)), *write.findings,
        /*of_findings=*/state == agent.state, write.policies));
    CUPEL_ASSIGN_OR_RETURN(recorded.record, ReadAgent(db, write.id));
    return absl::OkStatus();
  };
  CUPEL_RETURN_IF_ERROR(Write(Durability::kFull, {.id = write.id}, body));
  return recorded;
}

absl::Status SqlStore::RecordSeen(const AgentId& id, absl::Time time) {
  const Change change{.changed = false, .id = id};
  return Write(
      Durability::kNormal, change, [&](Connection& db) -> absl::Status {
        CUPEL_ASSIGN_OR_RETURN(
            const uint64_t rows,
            db.Execute("UPDATE agents SET last_seen ="
                       " CASE WHEN last_seen > :time THEN last_seen"
                       " ELSE :same END WHERE agent_id = :id",
                       {SqlTime(time), SqlTime(time), SqlText(id.ToString())}));
        return rows == 0 ? NoSuchAgent(id) : absl::OkStatus();
      });
}

absl::StatusOr<uint32_t> SqlStore::ExpireVerdicts(absl::Time now) {
  constexpr char kExpired[] =
      "state IN (3, 4) AND valid_until IS NOT NULL AND valid_until <= :now";
  uint32_t count = 0;
  Change change;
  const absl::Status written =
      Write(Durability::kFull, change, [&](Connection& db) -> absl::Status {
        count = 0;
        CUPEL_ASSIGN_OR_RETURN(
            const auto expired,
            db.Query(absl::StrCat("SELECT agent_id FROM agents WHERE ",
                                  kExpired, " ORDER BY agent_id"),
                     "t", {SqlTime(now)}));
        change.changed = !expired.empty();
        for (const SqlRow& row : expired) {
          RowReader in(row);
          CUPEL_ASSIGN_OR_RETURN(const AgentId id, IdFromSql(in.Text()));
          CUPEL_ASSIGN_OR_RETURN(AgentRecord agent, ReadAgent(db, id));
          const AgentState previous = agent.state;
          agent.state = AgentState::kPending;
          agent.state_reason = "no passing evidence in time";
          agent.valid_until.reset();
          CUPEL_RETURN_IF_ERROR(UpdateRow(db, agent));
          CUPEL_RETURN_IF_ERROR(WriteEvent(db, Now(), agent.tenant, id,
                                           previous, agent.state,
                                           agent.state_reason));
          ++count;
        }
        return absl::OkStatus();
      });
  CUPEL_RETURN_IF_ERROR(written);
  return count;
}

// --- Events.

absl::StatusOr<std::vector<AgentEvent>> SqlStore::EventsAfter(
    absl::string_view tenant, uint64_t sequence, uint32_t limit) {
  CUPEL_RETURN_IF_ERROR(CheckName(tenant, "tenant"));
  constexpr uint64_t kHighest =
      static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  Locked& locked = reader();
  const std::lock_guard lock(locked.mutex);
  CUPEL_ASSIGN_OR_RETURN(
      const auto rows,
      locked.connection->Query(
          "SELECT sequence, time, tenant, agent_id, previous, state,"
          " description, findings, policies FROM events WHERE tenant = :tenant"
          " AND sequence > :sequence ORDER BY sequence LIMIT :count",
          "iittiitbb",
          {SqlText(tenant), SqlNumber(std::min(sequence, kHighest)),
           SqlNumber(limit)}));
  std::vector<AgentEvent> events;
  events.reserve(rows.size());
  for (const SqlRow& row : rows) {
    RowReader in(row);
    const uint64_t number = in.Number();
    const absl::Time time = in.Time();
    std::string owner = in.Text();
    CUPEL_ASSIGN_OR_RETURN(const AgentId id, IdFromSql(in.Text()));
    AgentEvent event{number, time, std::move(owner), id, {}, {}, {}, {}};
    const uint64_t previous = in.Number();
    const uint64_t state = in.Number();
    event.text = in.Text();
    CUPEL_ASSIGN_OR_RETURN(event.findings, DecodeFindings(in.Bytes()));
    CUPEL_ASSIGN_OR_RETURN(event.policies, JudgedFromSql(in.OptionalBytes()));
    CUPEL_RETURN_IF_ERROR(in.status());
    if (!IsState(previous) || !IsState(state)) {
      return absl::DataLossError(
          absl::StrCat("store: event ", number, " has no such state"));
    }
    event.previous = StateFromSql(previous);
    event.state = StateFromSql(state);
    events.push_back(std::move(event));
  }
  return events;
}

absl::StatusOr<uint64_t> SqlStore::LastEventSequence() {
  Locked& locked = reader();
  const std::lock_guard lock(locked.mutex);
  CUPEL_ASSIGN_OR_RETURN(
      const auto rows,
      locked.connection->Query(
          "SELECT value FROM sequences WHERE name = 'event'", "i"));
  if (rows.size() != 1) {
    return absl::DataLossError("store: the sequence of events is not one row");
  }
  RowReader in(rows.front());
  const uint64_t sequence = in.Number();
  CUPEL_RETURN_IF_ERROR(in.status());
  return sequence;
}

absl::Status SqlStore::ExpireEvents(absl::Time before) {
  return Write(Durability::kNormal, {.changed = false, .id = {}},
               [&](Connection& db) {
                 return db
                     .Execute("DELETE FROM events WHERE time < :before",
                              {SqlTime(before)})
                     .status();
               });
}

absl::Status SqlStore::CopyInto(const std::string& path) {
  if (reader_.connection == nullptr) {
    const std::lock_guard lock(writer_.mutex);
    return VacuumInto(*writer_.connection, path);
  }
  // On a connection of its own, so that nobody waits for it.
  CUPEL_ASSIGN_OR_RETURN(
      const auto connection,
      Connection::OpenSqlite(path_, {.busy_timeout = options_.busy_timeout}));
  return VacuumInto(*connection, path);
}

absl::Status SqlStore::Backup(const std::string& path) {
  return WriteBackup(
      path, [this](const std::string& part) { return CopyInto(part); });
}

absl::Status SqlStore::BackupFile(const std::string& from,
                                  const std::string& path) {
  // SQLite would make it.
  if (access(from.c_str(), F_OK) != 0) {
    return absl::NotFoundError(absl::StrCat("store: ", ErrnoText(from)));
  }
  CUPEL_ASSIGN_OR_RETURN(const auto connection,
                         Connection::OpenSqlite(from, {}));
  CUPEL_RETURN_IF_ERROR(CheckSchema(*connection));
  return WriteBackup(path, [&](const std::string& part) {
    return VacuumInto(*connection, part);
  });
}

}  // namespace cupel::verifier
