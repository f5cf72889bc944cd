// What a verifier remembers, in words of the domain. The one place that knows
// SQL is behind this interface (docs/architecture.md, Layers).
//
// Trust: what is read from the store is believed. Whoever can write it owns the
// verifier.
#ifndef CUPEL_VERIFIER_STORE_STORE_H_
#define CUPEL_VERIFIER_STORE_STORE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/appraisal/appraise.h"
#include "common/appraisal/finding.h"
#include "common/tpm/attest.h"
#include "common/util/agent_id.h"

namespace cupel::verifier {

// The verdict's column (docs/protocol.md, 5). Numbers stand in databases.
enum class AgentState : uint8_t {
  kExpected = 1,  // added, not enrolled yet
  kEnrolled = 2,  // enrolled, of no tenant yet
  kPending = 3,
  kTrusted = 4,
  kFailed = 5,
  kStopped = 6,
};
absl::string_view AgentStateName(AgentState state);  // "TRUSTED"

// How an operator wants an agent judged.
struct AgentSettings {
  std::vector<std::string> policies;  // as the tenant names them, in order
  std::map<std::string, std::string> labels;
  // "any", "pinned", or a tpm_policy as JSON; empty: none, which can't pass.
  std::string boot;
  bool lab = false;
  bool allow_sha1_bank = false;
  bool tolerate_violations = false;
  std::vector<std::string> padded_sha1_banks;
  std::optional<absl::Duration> interval;  // nullopt: the verifier's
  // The bank that is quoted, by the kernel's name; empty: SelectPcrs' choice.
  std::string bank;
  // What a new boot means, before which there was a span without evidence:
  // "event"; "failure", until an operator accepts it; empty: "event".
  std::string on_gap;
  // PCRs of the list beside PCR 10: 11 to 15, ascending.
  std::vector<uint32_t> list_pcrs = {};
  // Those of `policies` whose excludes do not count.
  std::vector<std::string> without_excludes = {};
  // Patterns of paths whose violations are tolerated, as
  // policy::CompileViolationPatterns takes them.
  std::vector<std::string> tolerated_violations = {};
  // Paths that the IMA policy is loaded from, as appraisal::Reference has them.
  std::vector<std::string> ima_policies = {};
  friend bool operator==(const AgentSettings&, const AgentSettings&) = default;
};

// What enrolment has shown.
struct Enrollment {
  std::vector<uint8_t> ek_certificate;  // DER
  std::string ek_sha256;                // of that DER, lower-case hex
  std::vector<uint8_t> ek_name;
  std::vector<uint8_t> ak_public;  // TPMT_PUBLIC
  std::vector<uint8_t> ak_name;
  absl::Time time;
  std::string address;  // of the peer, for limits
};

// A finding that an operator has accepted: it fails no more in that boot.
struct AcceptedFinding {
  std::string id;
  std::string path;   // bytes
  std::string found;  // as in the finding: the digest it was accepted with
  uint32_t reset_count = 0;
  uint32_t restart_count = 0;
  std::string who;
  std::string why;
  absl::Time time;
};

// A policy that a verdict was reached with.
struct JudgedPolicy {
  std::string name;        // as the agent's tenant names it
  std::string content_id;  // SHA-256 of the file, hex
  friend bool operator==(const JudgedPolicy&, const JudgedPolicy&) = default;
};

struct AgentRecord {
  AgentId id;
  std::string tenant = {};  // empty: of none yet
  AgentState state = AgentState::kEnrolled;
  std::string state_reason = {};
  // Bound by `add`; empty: any EK may have the id (trust on first use), but for
  // `ek_vouched`.
  std::string wanted_ek_sha256 = {};
  // Until it enrols: only an EK that its tenant vouches for, by a token or by
  // the list of allowed EKs, may have the id.
  bool ek_vouched = false;
  std::optional<Enrollment> enrollment = {};  // nullopt: kExpected
  AgentSettings settings = {};
  // Grows with each change of settings, of the policies that they name, or of
  // state by an operator: a verdict that was begun before is not recorded.
  uint64_t policy_epoch = 0;
  // Grows with each claim: only the stream of the last one may write.
  uint64_t owner_epoch = 0;

  std::optional<absl::Time> valid_until = {};  // of kTrusted and kPending
  // Of verdicts that decided, and how many there were.
  std::optional<absl::Time> last_attested = {};
  uint64_t attestation_count = 0;
  std::optional<absl::Time> last_seen = {};
  appraisal::EntryCounts counts = {};
  // Of the last verdict that failed; none while kTrusted.
  std::vector<appraisal::Finding> findings = {};
  std::vector<AcceptedFinding> accepted = {};
  std::string boot_composite = {};  // hex; of the last quote that was judged
  std::string pinned_boot_composite = {};  // hex; approved by an operator
  // Of the last quote that was judged, whatever came of it. Progress has that
  // of the last one that passed.
  std::optional<tpm::ClockInfo> clock_info = {};
  appraisal::Progress progress = {};
  // Those that the last verdict was reached with, in their order.
  std::vector<JudgedPolicy> judged_policies = {};

  // kTrusted only while it is valid, else what `now` makes of it (kPending).
  AgentState StateAt(absl::Time now) const;
};

struct PolicyRecord {
  std::string tenant;
  std::string name;
  uint64_t version = 0;
  std::string content_id;     // SHA-256 of the file, hex
  std::vector<uint8_t> file;  // as it was given
  uint64_t size = 0;          // of the file, in bytes
  uint64_t digest_count = 0;  // 0 too where it was not counted
  absl::Time created;
};

// An EK that its tenant vouches for.
struct AllowedEk {
  std::string ek_sha256;
  std::string who;
  absl::Time time;
};

// What an operator wants of Reactivate, beside another chance.
struct Reactivation {
  std::vector<AcceptedFinding> accepted = {};
  bool reset_counters = false;
  // The boot that is approved from now on, hex; empty: the one that was.
  std::string boot_composite = {};
  std::string why = {};
};

// A verdict with its progress: written together or not at all.
struct VerdictWrite {
  AgentId id;
  uint64_t owner_epoch = 0;
  uint64_t policy_epoch = 0;
  // The new state; nullopt leaves it (progress alone, why nothing could be
  // decided, or a failed agent that has failed again).
  std::optional<AgentState> state;
  // Kept beside a new state, and without one for a kPending agent; kFailed
  // keeps why it failed. Empty leaves what is there.
  std::string reason = {};
  std::optional<absl::Time> valid_until = std::nullopt;  // of the new state
  // Replace those on record; nullopt leaves them, but kTrusted ends them.
  std::optional<std::vector<appraisal::Finding>> findings = std::nullopt;
  appraisal::EntryCounts counts = {};
  appraisal::Progress progress = {};
  std::string boot_composite = {};  // empty leaves what is there
  // An appraisal has passed or failed: it counts as an attestation.
  bool decided = false;
  // Of the quote that was judged; nullopt leaves what is there.
  std::optional<tpm::ClockInfo> clock_info = std::nullopt;
  // Makes an event of it, with `reason` as its text, even if neither state nor
  // findings change.
  bool is_event = false;
  // What it was reached with; kept with it, and with its event. Empty, of what
  // no policy has anything to do with, leaves what is there.
  std::vector<JudgedPolicy> policies = {};
};

// What came of a VerdictWrite.
struct RecordedVerdict {
  absl::Time time;  // by the store's clock
  // What the agent's record has become; nullopt where the verdict only renewed
  // what it said: then ApplyRenewal makes it.
  std::optional<AgentRecord> record = std::nullopt;
  // Beside a record: the state that it had before.
  AgentState previous = AgentState::kPending;
};

// What a verdict that only renewed what `record` said has made of it. `record`
// is the one that `write` was made from, and keeps the memory that it has.
void ApplyRenewal(const VerdictWrite& write, absl::Time time,
                  AgentRecord& record);

struct AgentEvent {
  uint64_t sequence = 0;  // ascending in the store
  absl::Time time;
  std::string tenant;
  AgentId id;
  AgentState previous = AgentState::kEnrolled;
  AgentState state = AgentState::kEnrolled;
  std::string text;
  std::vector<appraisal::Finding> findings;  // the first few
  std::vector<JudgedPolicy> policies = {};   // of a verdict
};

struct AgentFilter {
  std::string tenant;
  std::map<std::string, std::string> labels;  // all of them
  std::optional<AgentId> after;               // ids greater than it
  uint32_t limit = 1000;
  std::optional<AgentState> state = std::nullopt;  // as stored
};

// Whatever makes an agent PENDING that was not gives it a valid_until, where
// the store was made with a time that it may take: then there is an event about
// it (ExpireVerdicts). An agent that lapses from TRUSTED has had its event.
//
// Threads: every function may be called by any thread, and may block for as
// long as a disk takes.
//
// Errors of all of them, beside those named: kUnavailable, the store can't be
// reached or is full, and nothing was changed; kDataLoss, it holds what it
// can't hold. kNotFound where the agent or policy doesn't exist *in that
// tenant*: other tenants' objects don't exist for a caller. kResourceExhausted,
// with the quota and its option's name, for what would take a tenant over what
// the store was made to allow: of AddAgent, AddVouchedAgent, AllowEks,
// AddEnrollmentToken and PutPolicy, and of Enroll where a token makes the agent
// its tenant's.
// Whose failure Store::RecordLateFailure records. All must outlive the call.
struct LateFailure {
  absl::string_view owner;           // of the stream that found it
  absl::string_view tenant;          // that it was judged for
  std::span<const uint8_t> ek_name;  // of the machine that was judged
};

class Store {
 public:
  virtual ~Store() = default;

  // The clock that deadlines are reckoned by.
  virtual absl::Time Now() const = 0;

  // --- Enrolment.

  // Consumes `nonce` and binds the keys, in one transaction. A known agent with
  // the same EK gets a new AK and keeps all else; owner_epoch grows. kExpected
  // becomes kPending. An id that another EK holds without any tenant goes to
  // whoever has a tenant's token. Enrolling again makes an unclaimed enrolment
  // no younger.
  //
  // kAlreadyExists: the nonce was used; or the id has another EK, is to have
  // another one, or one that its tenant vouches for, or the EK has another id:
  // which of these is not told, since it may be another tenant's. kFailed-
  // Precondition: `issued` is not after the last delete of the id, or the last
  // Expire. kResourceExhausted: more than `max_unclaimed_per_address` unclaimed
  // enrolments from that address.
  virtual absl::StatusOr<AgentRecord> Enroll(
      const AgentId& id, const Enrollment& enrollment,
      std::span<const uint8_t> nonce, absl::Time issued,
      absl::string_view token, uint32_t max_unclaimed_per_address) = 0;

  // A single-use token that puts whoever enrols with it into `tenant`. Only its
  // hash is stored.
  virtual absl::Status AddEnrollmentToken(absl::string_view tenant,
                                          absl::string_view token_sha256,
                                          absl::Time expires) = 0;

  // Forgets nonces, tokens and unclaimed enrolments from before `before`.
  virtual absl::Status Expire(absl::Time before) = 0;

  // --- Operators.

  // Binds the id to the tenant and to an EK (empty: to the one that it has or
  // will have). kPending where it is enrolled, kExpected where not: also where
  // it is enrolled with another EK and of no tenant, since nobody knows that
  // one, and it is forgotten. kNotFound for a policy's name, named in the
  // message; kInvalidArgument where `without_excludes` names another policy;
  // kAlreadyExists if it was added; kFailedPrecondition if a token of the
  // tenant has brought it with another EK.
  virtual absl::StatusOr<AgentRecord> AddAgent(absl::string_view tenant,
                                               const AgentId& id,
                                               const AgentSettings& settings,
                                               absl::string_view ek_sha256,
                                               absl::string_view who) = 0;
  // The same for an EK that the tenant vouches for already: a token of the
  // tenant's has brought it, or it is on the tenant's list. kFailedPrecondition
  // where it is enrolled and that is not so.
  virtual absl::StatusOr<AgentRecord> AddVouchedAgent(
      absl::string_view tenant, const AgentId& id,
      const AgentSettings& settings, absl::string_view who) = 0;
  // Changes the settings by `change`, in one transaction; its errors are this
  // function's. A TRUSTED agent becomes PENDING, a FAILED one stays.
  using SettingsChange = absl::FunctionRef<absl::Status(AgentSettings&)>;
  virtual absl::Status UpdateAgent(absl::string_view tenant, const AgentId& id,
                                   SettingsChange change,
                                   absl::string_view who) = 0;
  virtual absl::Status DeleteAgent(absl::string_view tenant, const AgentId& id,
                                   absl::string_view who) = 0;
  // FAILED or STOPPED becomes PENDING; the whole list is to be judged again
  // (Progress::key is empty), and what it is held against stays, unless
  // `reset_counters`. A PENDING agent stays so, and has
  // its boot approved by it. kFailedPrecondition in any other state, and for a
  // PENDING agent without a boot to approve, or with anything else.
  virtual absl::Status Reactivate(absl::string_view tenant, const AgentId& id,
                                  const Reactivation& reactivation,
                                  absl::string_view who) = 0;
  virtual absl::Status StopAgent(absl::string_view tenant, const AgentId& id,
                                 absl::string_view who) = 0;
  virtual absl::StatusOr<AgentRecord> GetAgent(absl::string_view tenant,
                                               const AgentId& id) = 0;
  virtual absl::StatusOr<std::vector<AgentRecord>> ListAgents(
      const AgentFilter& filter) = 0;
  virtual absl::StatusOr<std::vector<AgentId>> ListAgentIds(
      const AgentFilter& filter) = 0;
  // Enrolled and of no tenant.
  virtual absl::StatusOr<std::vector<AgentRecord>> ListUnclaimed() = 0;
  // How many agents there are, of all tenants, in each state that one is in by
  // AgentRecord::StateAt. Costs little however large their records are.
  virtual absl::StatusOr<std::map<AgentState, uint64_t>> CountAgents() = 0;

  // EKs, by the SHA-256 of their certificates in lower-case hex, that the
  // tenant vouches for from now on, or no more. What was added by them stays.
  virtual absl::Status AllowEks(absl::string_view tenant,
                                std::span<const std::string> ek_sha256,
                                absl::string_view who) = 0;
  virtual absl::Status DisallowEks(absl::string_view tenant,
                                   std::span<const std::string> ek_sha256,
                                   absl::string_view who) = 0;
  // In ascending order, those after `after`; at most `limit`.
  virtual absl::StatusOr<std::vector<AllowedEk>> ListAllowedEks(
      absl::string_view tenant, absl::string_view after, uint32_t limit) = 0;

  // --- Policies. Every tenant may name those of the tenant `shared`, as
  // policy_names.h says, and only operators of `shared` can put and delete
  // them: kPermissionDenied else.

  // `digest_count` is what people are told of the file. With `create`,
  // kAlreadyExists if the name is taken; else kNotFound if it is not. A new
  // version raises the policy_epoch of every agent that names it, whatever the
  // agent's tenant.
  virtual absl::StatusOr<PolicyRecord> PutPolicy(absl::string_view tenant,
                                                 absl::string_view name,
                                                 std::span<const uint8_t> file,
                                                 uint64_t digest_count,
                                                 bool create,
                                                 absl::string_view who) = 0;
  // kFailedPrecondition while an agent names it, with how many do.
  virtual absl::Status DeletePolicy(absl::string_view tenant,
                                    absl::string_view name,
                                    absl::string_view who) = 0;
  virtual absl::StatusOr<PolicyRecord> GetPolicy(absl::string_view tenant,
                                                 absl::string_view name) = 0;
  // PolicyRecord::content_id of GetPolicy's, by one read of an index, however
  // large the file is.
  virtual absl::StatusOr<std::string> PolicyContentId(
      absl::string_view tenant, absl::string_view name) = 0;
  // Without the files: the tenant's own, then those that are shared, by the
  // names that the tenant has for them.
  virtual absl::StatusOr<std::vector<PolicyRecord>> ListPolicies(
      absl::string_view tenant) = 0;
  // Of a shared policy the tenant's own agents; for `shared`, all.
  virtual absl::StatusOr<uint64_t> CountAgentsWithPolicy(
      absl::string_view tenant, absl::string_view name) = 0;

  // --- Sessions.

  // The agent as a stream that says it is that agent needs it: unproven, so
  // nothing changes. kNotFound where it isn't enrolled.
  virtual absl::StatusOr<AgentRecord> FindAgent(const AgentId& id) = 0;
  // A proven stream takes the agent over: owner_epoch grows.
  virtual absl::StatusOr<AgentRecord> ClaimAgent(const AgentId& id,
                                                 absl::string_view owner) = 0;
  // Verdict and progress in one transaction. kAborted, and nothing is written,
  // unless both epochs are still those of the record: claim, or read, again. A
  // FAILED or STOPPED agent's state is not changed by any verdict: kAborted.
  virtual absl::StatusOr<AgentRecord> RecordVerdict(
      const VerdictWrite& write) = 0;
  // The same for several agents, in as few transactions as it takes, and for
  // each agent in the order of its writes. A result for each write, in their
  // order: an error that one of them has by itself concerns no other. Each that
  // is not an error is stored.
  virtual std::vector<absl::StatusOr<RecordedVerdict>> RecordVerdicts(
      std::span<const VerdictWrite> writes) = 0;
  // The failure (`write` has findings) of a stream that has lost the agent, or
  // whose verdict something has overtaken: who takes its own stream away hides
  // nothing by it, and who has lost the agent to another verifier changes
  // nothing of it. Where its owner has the agent, by whatever claim, and
  // settings, policies and the EK are those that were judged by, the
  // record is FAILED for it, beside what it has failed for already; its
  // progress stays. Anywhere else it is an event alone, whose text says why.
  // Always with a record. kAborted, and nothing is written, where the agent has
  // another EK or is another tenant's, or was deleted and added anew;
  // kInvalidArgument without findings.
  virtual absl::StatusOr<RecordedVerdict> RecordLateFailure(
      const VerdictWrite& write, const LateFailure& late) = 0;
  virtual absl::Status RecordSeen(const AgentId& id, absl::Time time) = 0;
  // TRUSTED and PENDING with a valid_until at or before `now` become PENDING
  // without one, each with an event; nothing else of them changes. How many
  // were TRUSTED or PENDING so.
  virtual absl::StatusOr<uint32_t> ExpireVerdicts(absl::Time now) = 0;

  // --- Events. The last of each agent's are kept: so many of those that change
  // its state, and fewer of those that only find something else.

  // In their order, those after `sequence`; at most `limit`.
  virtual absl::StatusOr<std::vector<AgentEvent>> EventsAfter(
      absl::string_view tenant, uint64_t sequence, uint32_t limit) = 0;
  virtual absl::StatusOr<uint64_t> LastEventSequence() = 0;
  // Forgets those from before `before`.
  virtual absl::Status ExpireEvents(absl::Time before) = 0;
  // Calls `changed` from any thread after each committed change, with the agent
  // that changed (nullopt: several). A verdict that only renews what was, and a
  // last-seen, are none. It must not call the store.
  virtual void OnChange(
      std::function<void(std::optional<AgentId>)> changed) = 0;

  // A consistent copy in a new file. kAlreadyExists if `path` exists.
  virtual absl::Status Backup(const std::string& path) = 0;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_STORE_STORE_H_
