#include "verifier/store/sql_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/digest.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/hex.h"
#include "common/util/status_macros.h"
#include "common/util/utf8.h"
#include "verifier/store/codec.h"
#include "verifier/store/migrations.h"

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
    " pinned_boot_composite, progress, findings";
constexpr char kAgentTypes[] = "ttittbbiiiiiibbttbb";

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

AgentRecord EmptyRecord(const AgentId& id) {
  return {id, {}, AgentState::kEnrolled,
          {}, {}, {},
          {}, 0,  0,
          {}, {}, {},
          0,  {}, {},
          {}, {}, {},
          {}};
}

absl::StatusOr<AgentRecord> AgentFromRow(const SqlRow& row) {
  RowReader in(row);
  CUPEL_ASSIGN_OR_RETURN(const AgentId id, IdFromSql(in.Text()));
  AgentRecord agent = EmptyRecord(id);
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
          " pinned_boot_composite = :pinned, progress = :progress"
          " WHERE agent_id = :id",
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
           EncodeProgress(agent.progress), SqlText(agent.id.ToString())})
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
          " findings) VALUES (:id, :tenant, :state, :reason, :wanted, :ek,"
          " :ek_name, :address, :time, :enrollment, :settings, :policy, "
          ":owner, '', 0,"
          " :counts, :accepted, '', '', :progress, :findings)",
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
           EncodeProgress({}), EncodeFindings({})})
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
    CUPEL_ASSIGN_OR_RETURN(
        const auto version,
        db.QueryOne("SELECT version FROM policies WHERE tenant = :tenant"
                    " AND name = :name",
                    'i', {SqlText(agent.tenant), SqlText(name)}));
    if (!version.has_value()) return NoSuchPolicy(name);
    CUPEL_RETURN_IF_ERROR(db.Execute("INSERT INTO agent_policies"
                                     " (agent_id, position, tenant, name)"
                                     " VALUES (:id, :position, :tenant, :name)",
                                     {SqlText(id), SqlNumber(position++),
                                      SqlText(agent.tenant), SqlText(name)})
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

// The sequence is drawn inside of the transaction, from a row that it locks:
// so numbers are visible in their order, without a gap to be filled later.
absl::Status WriteEvent(Connection& db, absl::Time time,
                        absl::string_view tenant, const AgentId& id,
                        AgentState previous, AgentState state,
                        absl::string_view text,
                        const std::vector<Finding>& findings = {}) {
  CUPEL_RETURN_IF_ERROR(
      db.Execute("UPDATE sequences SET value = value + 1 WHERE name = 'event'")
          .status());
  return db
      .Execute(
          "INSERT INTO events (sequence, time, tenant, agent_id, previous,"
          " state, description, findings) SELECT value, :time, :tenant, :id,"
          " :previous, :state, :text, :findings FROM sequences"
          " WHERE name = 'event'",
          {SqlTime(time), SqlText(tenant), SqlText(id.ToString()),
           StateToSql(previous), StateToSql(state), SqlText(text),
           EncodeFindings(findings)})
      .status();
}

// A TRUSTED agent whose reference has changed has to earn it again.
void Unsettle(AgentRecord& agent, absl::string_view reason) {
  ++agent.policy_epoch;
  if (agent.state != AgentState::kTrusted) return;
  agent.state = AgentState::kPending;
  agent.state_reason = std::string(reason);
  agent.valid_until.reset();
}

std::string By(absl::string_view what, absl::string_view who) {
  return who.empty() ? std::string(what) : absl::StrCat(what, " by ", who);
}

absl::StatusOr<uint64_t> CountNaming(Connection& db, absl::string_view tenant,
                                     absl::string_view name) {
  CUPEL_ASSIGN_OR_RETURN(
      const auto rows,
      db.Query("SELECT COUNT(DISTINCT agent_id) FROM agent_policies"
               " WHERE tenant = :tenant AND name = :name",
               "i", {SqlText(tenant), SqlText(name)}));
  if (rows.size() != 1) return absl::InternalError("store: no count");
  RowReader in(rows.front());
  const uint64_t count = in.Number();
  CUPEL_RETURN_IF_ERROR(in.status());
  return count;
}

constexpr char kPolicyColumns[] = "tenant, name, version, content_id, created";
constexpr char kPolicyTypes[] = "ttiti";

absl::StatusOr<PolicyRecord> PolicyFromRow(const SqlRow& row, bool has_file) {
  RowReader in(row);
  PolicyRecord policy;
  policy.tenant = in.Text();
  policy.name = in.Text();
  policy.version = in.Number();
  policy.content_id = in.Text();
  policy.created = in.Time();
  if (has_file) policy.file = in.Bytes();
  CUPEL_RETURN_IF_ERROR(in.status());
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

bool HasFindings(const VerdictWrite& write) {
  return !write.findings.empty() || write.state == AgentState::kFailed;
}

std::string StorableReason(const VerdictWrite& write) {
  return IsStorableText(write.reason) ? write.reason
                                      : EscapeForDisplay(write.reason);
}

// What of a verdict's write goes into the agent's row, without the findings;
// behind it come the fence and what a statement has besides.
constexpr char kSetVerdict[] =
    "UPDATE agents SET progress = :progress, counts = :counts,"
    " last_seen = :seen,"
    " last_attested = COALESCE(:attested, last_attested),"
    " attestation_count = attestation_count + :one,"
    " boot_composite = COALESCE(:composite, boot_composite),"
    " state_reason = COALESCE(:reason, state_reason),"
    " valid_until = CASE WHEN :has_state = 1 THEN :until"
    " ELSE valid_until END";
// Both epochs, in the statement that writes.
constexpr char kFence[] =
    " WHERE agent_id = :id AND owner_epoch = :owner AND policy_epoch = :policy";

std::vector<SqlValue> VerdictValues(const VerdictWrite& write, absl::Time now) {
  const bool is_attestation = write.state != AgentState::kPending;
  const bool has_state = write.state.has_value();
  return {
      EncodeProgress(write.progress),
      EncodeCounts(write.counts),
      SqlTime(now),
      is_attestation ? SqlTime(now) : SqlValue(),
      SqlNumber(is_attestation ? 1 : 0),
      write.boot_composite.empty() ? SqlValue() : SqlText(write.boot_composite),
      has_state ? SqlText(StorableReason(write)) : SqlValue(),
      SqlNumber(has_state ? 1 : 0),
      write.state == AgentState::kFailed ? SqlValue()
                                         : SqlTime(write.valid_until)};
}

void AddFence(const VerdictWrite& write, std::vector<SqlValue>& values) {
  values.push_back(SqlText(write.id.ToString()));
  values.push_back(SqlNumber(write.owner_epoch));
  values.push_back(SqlNumber(write.policy_epoch));
}

// A verdict among those that are written together.
struct GroupedVerdict {
  const VerdictWrite& write;
  absl::StatusOr<AgentState> result = AgentState::kPending;
  bool is_settled = false;  // `result` is what came of it
  bool is_change = false;
};

void Settle(absl::StatusOr<AgentState> result, GroupedVerdict& one) {
  one.result = std::move(result);
  one.is_settled = true;
}

// Settles a verdict that only renews what the record says, by one statement.
// Leaves any other one, and one that the fence refuses. Errors are the group's.
absl::Status RenewVerdict(Connection& db, absl::Time now, GroupedVerdict& one) {
  const VerdictWrite& write = one.write;
  if (HasFindings(write)) return absl::OkStatus();
  std::vector<SqlValue> values = VerdictValues(write, now);
  AddFence(write, values);
  values.push_back(SqlNumber(write.state.has_value() ? 0 : 1));
  values.push_back(StateToSql(write.state.value_or(AgentState::kPending)));
  CUPEL_ASSIGN_OR_RETURN(
      const auto states,
      db.Query(absl::StrCat(kSetVerdict, kFence,
                            " AND (:any = 1 OR state = :state)"
                            " RETURNING state"),
               "i", std::move(values)));
  if (states.empty()) return absl::OkStatus();
  RowReader in(states.front());
  const AgentState state = StateFromSql(in.Number());
  CUPEL_RETURN_IF_ERROR(in.status());
  Settle(state, one);
  return absl::OkStatus();
}

absl::StatusOr<AgentState> ChangeIn(Connection& db, absl::Time now,
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

  const bool has_findings = HasFindings(write);
  const SqlBytes findings = EncodeFindings(write.findings);
  std::vector<SqlValue> values = VerdictValues(write, now);
  values.push_back(has_findings ? SqlValue(findings) : SqlValue());
  values.push_back(write.state.has_value() ? StateToSql(*write.state)
                                           : SqlValue());
  AddFence(write, values);
  values.push_back(SqlNumber(write.state.has_value() ? 1 : 0));
  CUPEL_ASSIGN_OR_RETURN(
      const uint64_t written,
      db.Execute(
          absl::StrCat(kSetVerdict,
                       ", findings = COALESCE(:findings, findings),"
                       " state = COALESCE(:state, state)",
                       kFence, " AND (:has_no_state = 0 OR state IN (3, 4))"),
          std::move(values)));
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
  if (state != previous || (has_findings && findings != known_findings)) {
    CUPEL_RETURN_IF_ERROR(WriteEvent(db, now, tenant, write.id, previous, state,
                                     StorableReason(write), write.findings));
  }
  return state;
}

// Settles a verdict, whatever it is. What is wrong with it alone takes back
// what was written of it, and of it alone; errors are the group's.
absl::Status ChangeVerdict(Connection& db, absl::Time now,
                           GroupedVerdict& one) {
  CUPEL_RETURN_IF_ERROR(db.Execute("SAVEPOINT verdict").status());
  absl::StatusOr<AgentState> state = ChangeIn(db, now, one.write);
  // SQLite may have ended the transaction, and with it what was before.
  if (absl::IsUnavailable(state.status())) return state.status();
  if (!state.ok()) {
    CUPEL_RETURN_IF_ERROR(db.Execute("ROLLBACK TO verdict").status());
  }
  one.is_change = state.ok();
  Settle(std::move(state), one);
  return db.Execute("RELEASE verdict").status();
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

absl::Status SqlStore::WriteLocked(
    Durability durability, absl::FunctionRef<absl::Status(Connection&)> body) {
  Connection& db = *writer_.connection;
  CUPEL_RETURN_IF_ERROR(db.Begin(durability));
  absl::Status status = body(db);
  if (status.ok()) status = db.Commit();
  if (!status.ok()) db.Rollback();
  return status;
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
  // What was consumed up to there has been forgotten.
  CUPEL_ASSIGN_OR_RETURN(
      const auto old,
      db.QueryOne("SELECT value FROM sequences WHERE name = 'forgotten'"
                  " AND value > :issued",
                  'i', {SqlTime(issued)}));
  if (old.has_value()) {
    return absl::FailedPreconditionError(
        "the enrolment's cookie is too old: enrol again");
  }
  CUPEL_ASSIGN_OR_RETURN(
      const auto deleted,
      db.QueryOne("SELECT deleted FROM deletions WHERE agent_id = :id"
                  " AND deleted >= :issued",
                  'i', {SqlText(id.ToString()), SqlTime(issued)}));
  if (deleted.has_value()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "agent ", id.ToString(),
        " was deleted after the enrolment's cookie was issued: enrol again"));
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
  if (known.has_value() && known->enrollment.has_value() &&
      known->enrollment->ek_sha256 != enrollment.ek_sha256) {
    return absl::AlreadyExistsError(absl::StrCat(
        "agent ", id.ToString(),
        " is enrolled with another EK: delete it first, or choose another id"));
  }
  if (known.has_value() && !known->wanted_ek_sha256.empty() &&
      known->wanted_ek_sha256 != enrollment.ek_sha256) {
    return absl::AlreadyExistsError(
        absl::StrCat("agent ", id.ToString(), " is to have another EK"));
  }
  CUPEL_ASSIGN_OR_RETURN(
      const auto holder,
      db.QueryOne(
          "SELECT agent_id FROM agents WHERE (ek_sha256 = :ek"
          " OR ek_name = :name) AND agent_id <> :id",
          't',
          {SqlText(enrollment.ek_sha256),
           SqlText(HexEncode(enrollment.ek_name)), SqlText(id.ToString())}));
  if (holder.has_value()) {
    return absl::AlreadyExistsError("the EK is enrolled under another id");
  }

  AgentRecord agent = known.has_value() ? *known : EmptyRecord(id);
  const AgentState previous = agent.state;
  agent.enrollment = enrollment;
  ++agent.owner_epoch;
  if (agent.tenant.empty() && !token.empty()) {
    const std::string hash =
        crypto::Hash(crypto::HashAlgorithm::kSha256, AsBytes(token)).Hex();
    CUPEL_ASSIGN_OR_RETURN(
        const auto tenant,
        db.QueryOne("SELECT tenant FROM enrollment_tokens"
                    " WHERE token_sha256 = :hash AND expires > :now",
                    't', {SqlText(hash), SqlTime(Now())}));
    if (!tenant.has_value()) {
      return absl::PermissionDeniedError(
          "the enrolment token is unknown, used or expired");
    }
    agent.tenant = std::get<std::string>(*tenant);
    CUPEL_RETURN_IF_ERROR(
        db.Execute("DELETE FROM enrollment_tokens WHERE token_sha256 = :hash",
                   {SqlText(hash)})
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
  if (agent.state == AgentState::kExpected) {
    agent.state = AgentState::kPending;
    agent.state_reason = "enrolled";
  }
  if (known.has_value()) {
    CUPEL_RETURN_IF_ERROR(UpdateRow(db, agent));
  } else {
    CUPEL_RETURN_IF_ERROR(InsertRow(db, agent));
  }
  return WriteEvent(db, Now(), agent.tenant, id, previous, agent.state,
                    known.has_value() && known->enrollment.has_value()
                        ? "enrolled again"
                        : "enrolled");
}

absl::Status SqlStore::AddEnrollmentToken(absl::string_view tenant,
                                          absl::string_view token_sha256,
                                          absl::Time expires) {
  CUPEL_RETURN_IF_ERROR(CheckName(tenant, "tenant"));
  CUPEL_RETURN_IF_ERROR(CheckSha256(token_sha256, "token"));
  return Write(
      Durability::kFull, {.changed = false, .id = {}}, [&](Connection& db) {
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
          "DELETE FROM enrollment_tokens WHERE expires < :before"}) {
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
  CUPEL_RETURN_IF_ERROR(CheckName(tenant, "tenant"));
  CUPEL_RETURN_IF_ERROR(CheckText(who, "operator"));
  CUPEL_RETURN_IF_ERROR(CheckSettings(settings));
  if (!ek_sha256.empty()) {
    CUPEL_RETURN_IF_ERROR(CheckSha256(ek_sha256, "EK"));
  }
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
    AgentRecord agent = known.has_value() ? *known : EmptyRecord(id);
    const AgentState previous =
        known.has_value() ? known->state : AgentState::kExpected;
    agent.state = AgentState::kExpected;
    agent.wanted_ek_sha256 = std::string(ek_sha256);
    if (agent.enrollment.has_value()) {
      if (!ek_sha256.empty() && agent.enrollment->ek_sha256 != ek_sha256) {
        return absl::FailedPreconditionError(absl::StrCat(
            "agent ", id.ToString(), " is enrolled with another EK"));
      }
      agent.state = AgentState::kPending;
      agent.wanted_ek_sha256 = agent.enrollment->ek_sha256;
    }
    agent.tenant = std::string(tenant);
    agent.settings = settings;
    agent.state_reason = By("added", who);
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
                                   const AgentSettings& settings,
                                   absl::string_view who) {
  CUPEL_RETURN_IF_ERROR(CheckName(tenant, "tenant"));
  CUPEL_RETURN_IF_ERROR(CheckText(who, "operator"));
  CUPEL_RETURN_IF_ERROR(CheckSettings(settings));
  return Write(
      Durability::kFull, {.id = id}, [&](Connection& db) -> absl::Status {
        CUPEL_ASSIGN_OR_RETURN(AgentRecord agent, ReadAgentOf(db, tenant, id));
        if (agent.state == AgentState::kEnrolled) {
          return StateForbids(id, agent.state, "add it first");
        }
        const AgentState previous = agent.state;
        const std::string text = By("settings changed", who);
        agent.settings = settings;
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
                                  std::vector<AcceptedFinding> accepted,
                                  bool reset_counters,
                                  absl::string_view pin_boot_composite,
                                  absl::string_view who) {
  CUPEL_RETURN_IF_ERROR(CheckName(tenant, "tenant"));
  CUPEL_RETURN_IF_ERROR(CheckText(who, "operator"));
  CUPEL_RETURN_IF_ERROR(CheckText(pin_boot_composite, "boot composite"));
  return Write(
      Durability::kFull, {.id = id}, [&](Connection& db) -> absl::Status {
        CUPEL_ASSIGN_OR_RETURN(AgentRecord agent, ReadAgentOf(db, tenant, id));
        if (agent.state != AgentState::kFailed &&
            agent.state != AgentState::kStopped) {
          return StateForbids(id, agent.state,
                              "only FAILED and STOPPED are reactivated");
        }
        const AgentState previous = agent.state;
        agent.state = agent.enrollment.has_value() ? AgentState::kPending
                                                   : AgentState::kExpected;
        agent.state_reason = By("reactivated", who);
        agent.valid_until.reset();
        ++agent.policy_epoch;
        Progress fresh;
        if (!reset_counters) fresh.clock_info = agent.progress.clock_info;
        agent.progress = std::move(fresh);
        if (!pin_boot_composite.empty()) {
          agent.pinned_boot_composite = std::string(pin_boot_composite);
        }
        for (AcceptedFinding& finding : accepted) {
          if (finding.who.empty()) finding.who = std::string(who);
          if (finding.time == absl::Time()) finding.time = Now();
          agent.accepted.push_back(finding);
        }
        CUPEL_RETURN_IF_ERROR(UpdateRow(db, agent));
        return WriteEvent(db, Now(), tenant, id, previous, agent.state,
                          agent.state_reason);
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
  absl::StrAppend(&condition, " ORDER BY agent_id LIMIT :count");
  values.push_back(SqlNumber(filter.limit));
  Locked& locked = reader();
  const std::lock_guard lock(locked.mutex);
  return QueryAgents(*locked.connection, condition, std::move(values));
}

absl::StatusOr<std::vector<AgentRecord>> SqlStore::ListUnclaimed() {
  Locked& locked = reader();
  const std::lock_guard lock(locked.mutex);
  return QueryAgents(*locked.connection, "WHERE tenant = '' ORDER BY agent_id",
                     {});
}

// --- Policies.

absl::StatusOr<PolicyRecord> SqlStore::PutPolicy(absl::string_view tenant,
                                                 absl::string_view name,
                                                 std::span<const uint8_t> file,
                                                 bool create,
                                                 absl::string_view who) {
  CUPEL_RETURN_IF_ERROR(CheckName(tenant, "tenant"));
  CUPEL_RETURN_IF_ERROR(CheckName(name, "policy's name"));
  CUPEL_RETURN_IF_ERROR(CheckText(who, "operator"));
  if (file.empty()) return absl::InvalidArgumentError("the policy is empty");
  PolicyRecord policy;
  policy.tenant = std::string(tenant);
  policy.name = std::string(name);
  policy.content_id = crypto::Hash(crypto::HashAlgorithm::kSha256, file).Hex();
  policy.file = ToVector(file);
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
      policy.version = 1;
      return db
          .Execute(
              "INSERT INTO policies (tenant, name, version, content_id,"
              " created, file) VALUES (:tenant, :name, 1, :content,"
              " :created, :file)",
              {SqlText(tenant), SqlText(name), SqlText(policy.content_id),
               SqlTime(policy.created), policy.file})
          .status();
    }
    RowReader version(rows.front());
    policy.version = version.Number() + 1;
    CUPEL_RETURN_IF_ERROR(version.status());
    CUPEL_RETURN_IF_ERROR(
        db.Execute("UPDATE policies SET version = :version,"
                   " content_id = :content, created = :created, file = :file"
                   " WHERE tenant = :tenant AND name = :name",
                   {SqlNumber(policy.version), SqlText(policy.content_id),
                    SqlTime(policy.created), policy.file, SqlText(tenant),
                    SqlText(name)})
            .status());
    const std::string text = By(
        absl::StrCat("policy ", name, " changed to version ", policy.version),
        who);
    constexpr char kNaming[] =
        "agent_id IN (SELECT agent_id FROM agent_policies"
        " WHERE tenant = :tenant AND name = :name)";
    CUPEL_ASSIGN_OR_RETURN(
        const auto trusted,
        db.Query(absl::StrCat("SELECT agent_id FROM agents WHERE state = 4"
                              " AND ",
                              kNaming, " ORDER BY agent_id"),
                 "t", {SqlText(tenant), SqlText(name)}));
    for (const SqlRow& row : trusted) {
      RowReader in(row);
      CUPEL_ASSIGN_OR_RETURN(const AgentId id, IdFromSql(in.Text()));
      CUPEL_RETURN_IF_ERROR(WriteEvent(db, Now(), tenant, id,
                                       AgentState::kTrusted,
                                       AgentState::kPending, text));
    }
    CUPEL_RETURN_IF_ERROR(
        db.Execute(absl::StrCat("UPDATE agents SET state = 3,"
                                " valid_until = NULL, state_reason = :reason"
                                " WHERE state = 4 AND ",
                                kNaming),
                   {SqlText(text), SqlText(tenant), SqlText(name)})
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
  CUPEL_RETURN_IF_ERROR(CheckText(who, "operator"));
  return Write(Durability::kFull, {}, [&](Connection& db) -> absl::Status {
    CUPEL_ASSIGN_OR_RETURN(const uint64_t count, CountNaming(db, tenant, name));
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
  Locked& locked = reader();
  const std::lock_guard lock(locked.mutex);
  CUPEL_ASSIGN_OR_RETURN(
      const auto rows,
      locked.connection->Query(
          absl::StrCat("SELECT ", kPolicyColumns,
                       ", file FROM policies WHERE tenant = :tenant"
                       " AND name = :name"),
          absl::StrCat(kPolicyTypes, "b"), {SqlText(tenant), SqlText(name)}));
  if (rows.empty()) return NoSuchPolicy(name);
  return PolicyFromRow(rows.front(), /*has_file=*/true);
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
                       " FROM policies WHERE tenant = :tenant ORDER BY name"),
          kPolicyTypes, {SqlText(tenant)}));
  std::vector<PolicyRecord> policies;
  policies.reserve(rows.size());
  for (const SqlRow& row : rows) {
    CUPEL_ASSIGN_OR_RETURN(PolicyRecord policy,
                           PolicyFromRow(row, /*has_file=*/false));
    policies.push_back(std::move(policy));
  }
  return policies;
}

absl::StatusOr<uint64_t> SqlStore::CountAgentsWithPolicy(
    absl::string_view tenant, absl::string_view name) {
  CUPEL_RETURN_IF_ERROR(CheckName(tenant, "tenant"));
  Locked& locked = reader();
  const std::lock_guard lock(locked.mutex);
  return CountNaming(*locked.connection, tenant, name);
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
  CUPEL_RETURN_IF_ERROR(RecordVerdicts({&write, 1}).front().status());
  const std::lock_guard lock(writer_.mutex);
  return ReadAgent(*writer_.connection, write.id);
}

std::vector<absl::StatusOr<AgentState>> SqlStore::RecordVerdicts(
    std::span<const VerdictWrite> writes) {
  std::vector<GroupedVerdict> group;
  group.reserve(writes.size());
  for (const VerdictWrite& write : writes) {
    group.push_back(GroupedVerdict{write});
    if (absl::Status status = CheckVerdict(write); !status.ok()) {
      Settle(std::move(status), group.back());
    }
  }
  const absl::Time now = Now();
  {
    const std::lock_guard lock(writer_.mutex);
    // Only this process writes, so what is no renewal now is none a moment
    // later.
    for (const auto& [durability, step] :
         {std::pair(Durability::kNormal, &RenewVerdict),
          std::pair(Durability::kFull, &ChangeVerdict)}) {
      std::vector<GroupedVerdict*> part;
      for (GroupedVerdict& one : group) {
        if (!one.is_settled) part.push_back(&one);
      }
      if (part.empty()) break;
      const absl::Status written =
          WriteLocked(durability, [&](Connection& db) -> absl::Status {
            for (GroupedVerdict* const one : part) {
              CUPEL_RETURN_IF_ERROR(step(db, now, *one));
            }
            return absl::OkStatus();
          });
      for (GroupedVerdict* const one : part) {
        if (!written.ok() && one->result.ok()) Settle(written, *one);
      }
    }
  }
  std::vector<absl::StatusOr<AgentState>> results;
  results.reserve(group.size());
  for (GroupedVerdict& one : group) {
    if (one.result.ok() && one.is_change) Notify({.id = one.write.id});
    results.push_back(std::move(one.result));
  }
  return results;
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
          " description, findings FROM events WHERE tenant = :tenant"
          " AND sequence > :sequence ORDER BY sequence LIMIT :count",
          "iittiitb",
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

absl::Status SqlStore::CopyInto(const std::string& path) {
  const auto copy = [&](Connection& db) {
    return db.Execute("VACUUM INTO :path", {SqlText(path)}).status();
  };
  if (reader_.connection == nullptr) {
    const std::lock_guard lock(writer_.mutex);
    return copy(*writer_.connection);
  }
  // On a connection of its own, so that nobody waits for it.
  CUPEL_ASSIGN_OR_RETURN(
      const auto connection,
      Connection::OpenSqlite(path_, {.busy_timeout = options_.busy_timeout}));
  return copy(*connection);
}

absl::Status SqlStore::Backup(const std::string& path) {
  if (path.empty()) return absl::InvalidArgumentError("backup: no path");
  if (access(path.c_str(), F_OK) == 0) {
    return absl::AlreadyExistsError(
        absl::StrCat("backup: ", Quoted(path), " exists"));
  }
  const std::string part = path + ".part";
  CUPEL_RETURN_IF_ERROR(MakePrivateFile(part, O_EXCL));
  absl::Status status = CopyInto(part);
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

}  // namespace cupel::verifier
