// The store over SOCI: SQLite, embedded, for one verifier process.
#ifndef CUPEL_VERIFIER_STORE_SQL_STORE_H_
#define CUPEL_VERIFIER_STORE_SQL_STORE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "verifier/store/connection.h"
#include "verifier/store/store.h"
#include "verifier/store/tenant_quotas.h"

namespace cupel::verifier {

struct SqlStoreOptions {
  // The store's clock; empty: the system's. Called by any thread.
  std::function<absl::Time()> clock = {};
  // How long an agent may be PENDING before there is an event; nullopt: for as
  // long as it likes.
  std::optional<absl::Duration> pending_timeout = std::nullopt;
  // How long to wait for another process that has the file.
  absl::Duration busy_timeout = absl::Seconds(10);
  // Of an agent's events: what is kept of those that change its state, or that
  // an operator has caused; and of those that find something else and leave the
  // state as it is, of which a machine can cause as many as it likes.
  uint32_t max_events_per_agent = 1000;
  uint32_t max_finding_events_per_agent = 100;
  TenantQuotas quotas = {};
};

// Durability. What an operator did, an enrolment, and a verdict that changes a
// state or brings findings is on the disk when its function returns. A verdict
// that only renews what was, a claim and a last-seen are written without
// waiting for the disk, and get there with the next of the others or within
// some hundred writes. A power cut may take the last of them back, in order and
// each whole: then an older `valid_until` stands beside the older progress that
// belongs to it, which never makes anybody trusted for longer. A crash of the
// process alone takes nothing back.
//
// Both kinds go through one connection, which switches between them: SQLite has
// one writer anyway, and a commit that waits for the disk takes along those
// before it. A second connection serves reads, so that they don't wait for the
// disk.
//
// Texts (names, labels, reasons) are UTF-8 without NUL: kInvalidArgument else,
// but for a verdict's reason and findings, of which nothing is refused: there
// other bytes are escaped. An empty tenant is kInvalidArgument too.
class SqlStore : public Store {
 public:
  using Options = SqlStoreOptions;

  // Opens the database at `path`, or makes it, readable by its owner alone;
  // ":memory:" is one that ends with the store. An older schema is brought up
  // to date.
  //
  // kFailedPrecondition: a newer schema, or another program's database;
  // kDataLoss: the file is corrupt; kUnavailable: it can't be opened;
  // kInvalidArgument: a path that none can have.
  static absl::StatusOr<std::unique_ptr<SqlStore>> Open(const std::string& path,
                                                        Options options = {});

  absl::Time Now() const override;

  // A token counts for an id that no tenant has yet: kPermissionDenied if it is
  // unknown, used or expired. The agent is then ENROLLED in that tenant, which
  // alone can add it. It counts too for an id that its tenant has added as one
  // that it vouches for. kInvalidArgument: no nonce, or no SHA-256 of the EK.
  absl::StatusOr<AgentRecord> Enroll(
      const AgentId& id, const Enrollment& enrollment,
      std::span<const uint8_t> nonce, absl::Time issued,
      absl::string_view token, uint32_t max_unclaimed_per_address) override;
  absl::Status AddEnrollmentToken(absl::string_view tenant,
                                  absl::string_view token_sha256,
                                  absl::Time expires) override;
  absl::Status Expire(absl::Time before) override;

  absl::StatusOr<AgentRecord> AddAgent(absl::string_view tenant,
                                       const AgentId& id,
                                       const AgentSettings& settings,
                                       absl::string_view ek_sha256,
                                       absl::string_view who) override;
  absl::StatusOr<AgentRecord> AddVouchedAgent(absl::string_view tenant,
                                              const AgentId& id,
                                              const AgentSettings& settings,
                                              absl::string_view who) override;
  // kFailedPrecondition for an agent that is ENROLLED: it has to be added.
  absl::Status UpdateAgent(absl::string_view tenant, const AgentId& id,
                           SettingsChange change,
                           absl::string_view who) override;
  absl::Status DeleteAgent(absl::string_view tenant, const AgentId& id,
                           absl::string_view who) override;
  // The TPM's counters of the last quote stay, unless `reset_counters`. An
  // agent that was stopped before it enrolled becomes EXPECTED. Acceptances
  // without `who` or `time` get them here.
  absl::Status Reactivate(absl::string_view tenant, const AgentId& id,
                          const Reactivation& reactivation,
                          absl::string_view who) override;
  // OK, and nothing changes, if it is stopped already. kFailedPrecondition for
  // an agent that is ENROLLED.
  absl::Status StopAgent(absl::string_view tenant, const AgentId& id,
                         absl::string_view who) override;
  absl::StatusOr<AgentRecord> GetAgent(absl::string_view tenant,
                                       const AgentId& id) override;
  absl::StatusOr<std::vector<AgentRecord>> ListAgents(
      const AgentFilter& filter) override;
  absl::StatusOr<std::vector<AgentId>> ListAgentIds(
      const AgentFilter& filter) override;
  absl::StatusOr<std::vector<AgentRecord>> ListUnclaimed() override;
  absl::StatusOr<std::map<AgentState, uint64_t>> CountAgents() override;

  absl::Status AllowEks(absl::string_view tenant,
                        std::span<const std::string> ek_sha256,
                        absl::string_view who) override;
  absl::Status DisallowEks(absl::string_view tenant,
                           std::span<const std::string> ek_sha256,
                           absl::string_view who) override;
  absl::StatusOr<std::vector<AllowedEk>> ListAllowedEks(
      absl::string_view tenant, absl::string_view after,
      uint32_t limit) override;

  absl::StatusOr<PolicyRecord> PutPolicy(absl::string_view tenant,
                                         absl::string_view name,
                                         std::span<const uint8_t> file,
                                         uint64_t digest_count, bool create,
                                         absl::string_view who) override;
  absl::Status DeletePolicy(absl::string_view tenant, absl::string_view name,
                            absl::string_view who) override;
  absl::StatusOr<PolicyRecord> GetPolicy(absl::string_view tenant,
                                         absl::string_view name) override;
  absl::StatusOr<std::string> PolicyContentId(absl::string_view tenant,
                                              absl::string_view name) override;
  absl::StatusOr<std::vector<PolicyRecord>> ListPolicies(
      absl::string_view tenant) override;
  absl::StatusOr<uint64_t> CountAgentsWithPolicy(
      absl::string_view tenant, absl::string_view name) override;

  absl::StatusOr<AgentRecord> FindAgent(const AgentId& id) override;
  absl::StatusOr<AgentRecord> ClaimAgent(const AgentId& id,
                                         absl::string_view owner) override;
  // kInvalidArgument for a state that no verdict gives (PENDING, TRUSTED and
  // FAILED are those), and for TRUSTED without an end. An event is written
  // where the state changes, or `findings` are others than the record's; the
  // store makes the valid_until of PENDING.
  absl::StatusOr<AgentRecord> RecordVerdict(const VerdictWrite& write) override;
  // Those that only renew what was are in one transaction, the others in
  // another. Where the store can't take one of either, it takes none of that
  // transaction: kUnavailable for each.
  std::vector<absl::StatusOr<RecordedVerdict>> RecordVerdicts(
      std::span<const VerdictWrite> writes) override;
  absl::StatusOr<RecordedVerdict> RecordLateFailure(
      const VerdictWrite& write, const LateFailure& late) override;
  // Never moves the time back.
  absl::Status RecordSeen(const AgentId& id, absl::Time time) override;
  absl::StatusOr<uint32_t> ExpireVerdicts(absl::Time now) override;

  absl::StatusOr<std::vector<AgentEvent>> EventsAfter(absl::string_view tenant,
                                                      uint64_t sequence,
                                                      uint32_t limit) override;
  absl::StatusOr<uint64_t> LastEventSequence() override;
  absl::Status ExpireEvents(absl::Time before) override;
  // Each of them is called.
  void OnChange(std::function<void(std::optional<AgentId>)> changed) override;

  // The copy is readable by its owner alone, and is complete as soon as it has
  // its name.
  absl::Status Backup(const std::string& path) override;
  // The same of the store at `from`, which another process may be using and
  // whose schema stays what it is. kNotFound if there is none; errors as those
  // of Open and Backup.
  static absl::Status BackupFile(const std::string& from,
                                 const std::string& path);

 private:
  // A connection and whoever uses it.
  struct Locked {
    std::mutex mutex;
    std::unique_ptr<Connection> connection;
  };
  // A change's result, and what OnChange is told.
  struct Change {
    bool changed = true;
    std::optional<AgentId> id{};  // nullopt: several
  };

  SqlStore(std::string path, Options options)
      : path_(std::move(path)), options_(std::move(options)) {}

  Locked& reader() { return reader_.connection == nullptr ? writer_ : reader_; }
  // Runs `body` in a transaction, commits it if it returns OK, and tells.
  absl::Status Write(Durability durability, const Change& change,
                     absl::FunctionRef<absl::Status(Connection&)> body);
  absl::Status WriteLocked(Durability durability,
                           absl::FunctionRef<absl::Status(Connection&)> body);
  void Notify(const Change& change);

  absl::Status EnrollIn(Connection& db, const AgentId& id,
                        const Enrollment& enrollment,
                        std::span<const uint8_t> nonce, absl::Time issued,
                        absl::string_view token,
                        uint32_t max_unclaimed_per_address);

  // Makes `agent` PENDING, with the deadline that this has.
  void MakePending(AgentRecord& agent, absl::string_view reason) const;
  // A TRUSTED agent whose reference has changed has to earn it again.
  void Unsettle(AgentRecord& agent, absl::string_view reason) const;
  std::optional<absl::Time> PendingUntil() const;
  // Makes `agent` the tenant's, if its quota allows.
  absl::Status EnterTenant(Connection& db, absl::string_view tenant,
                           AgentRecord& agent) const;
  // What a token that was sent is worth.
  absl::StatusOr<std::optional<std::string>> TenantOfToken(
      Connection& db, absl::string_view token);
  // Adds the agent; `binding` sees what is known of the id, says which EK it
  // may have, or refuses.
  using EkBinding = absl::FunctionRef<absl::Status(Connection&, AgentRecord&)>;
  absl::StatusOr<AgentRecord> Add(absl::string_view tenant, const AgentId& id,
                                  const AgentSettings& settings,
                                  EkBinding binding, absl::string_view who);
  // `of_findings`: nothing but what was found has changed. `policies`: what a
  // verdict was reached with.
  absl::Status WriteEvent(Connection& db, absl::Time time,
                          absl::string_view tenant, const AgentId& id,
                          AgentState previous, AgentState state,
                          absl::string_view text,
                          const std::vector<appraisal::Finding>& findings = {},
                          bool of_findings = false,
                          const std::vector<JudgedPolicy>& policies = {});

  std::vector<absl::StatusOr<RecordedVerdict>> WriteVerdicts(
      std::span<const VerdictWrite> writes);
  struct GroupedVerdict;
  absl::Status RenewVerdict(Connection& db, absl::Time now,
                            GroupedVerdict& one);
  absl::Status ChangeVerdict(Connection& db, absl::Time now,
                             GroupedVerdict& one);
  absl::StatusOr<RecordedVerdict> ChangeIn(Connection& db, absl::Time now,
                                           const VerdictWrite& write);

  absl::Status CopyInto(const std::string& path);

  const std::string path_;
  const Options options_;
  Locked writer_;
  Locked reader_;  // without a connection where the database is in memory
  std::mutex listeners_mutex_;
  std::vector<std::function<void(std::optional<AgentId>)>> listeners_;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_STORE_SQL_STORE_H_
