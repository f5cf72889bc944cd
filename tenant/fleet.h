// What operators ask of a verifier, as the commands see it: plain values, no
// gRPC. tenant/rpc has the implementation.
#ifndef CUPEL_TENANT_FLEET_H_
#define CUPEL_TENANT_FLEET_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/util/agent_id.h"

namespace cupel::tenant {

// The verdict's column (docs/protocol.md, 5).
enum class AgentState {
  kUnknown,  // none that this program knows
  kExpected,
  kEnrolled,
  kPending,
  kTrusted,
  kFailed,
  kStopped,
};
absl::string_view AgentStateName(AgentState state);  // "TRUSTED"

// A finding as the verifier tells it. Everything in it but `entry` and `pcr`
// may come from a machine: raw bytes, to be escaped wherever they are shown.
struct ReportedFinding {
  std::string id;
  std::string severity;  // "notice", "undecided", "failure"
  std::optional<uint64_t> entry;
  std::optional<uint32_t> pcr;
  std::string path;
  std::string expected;
  std::string found;
  std::string detail;
  bool authenticated = false;
  // For Reactivation::accept; empty where it can't be accepted.
  std::string accept_as;
};

// How an agent is judged.
struct AgentSettings {
  std::vector<std::string> policies;  // names, in order
  std::map<std::string, std::string> labels;
  std::string boot;  // "any", "pinned", or a tpm_policy as JSON
  bool lab = false;
  bool allow_sha1_bank = false;
  bool tolerate_violations = false;
  std::vector<std::string> padded_sha1_banks;
  std::optional<absl::Duration> interval;  // nullopt: the verifier's
  std::string bank;                        // empty: the verifier's choice
  std::string on_gap;                      // "event", "failure", empty: event
  std::vector<uint32_t> list_pcrs;         // 11 to 15, beside PCR 10
  // Those of `policies` whose excludes do not count.
  std::vector<std::string> without_excludes = {};
  // Patterns of paths whose violations are no failure; raw bytes.
  std::vector<std::string> tolerated_violations = {};
  // Where the machine's IMA policy is loaded from, which its list has to show;
  // raw bytes.
  std::vector<std::string> ima_policies = {};
};

// A finding that an operator has accepted; raw bytes, as above.
struct ReportedAcceptance {
  std::string id;
  std::string path;
  std::string found;
  uint32_t reset_count = 0;
  uint32_t restart_count = 0;
  std::string who;
  std::string why;
  absl::Time time;
};

// A policy that a verdict was reached with; raw bytes, as above.
struct JudgedPolicy {
  std::string name;
  std::string content_id;  // SHA-256 of its file, hex
};

// An agent as the verifier tells it; raw bytes, as above.
struct ReportedAgent {
  std::string id;
  AgentState state = AgentState::kUnknown;
  bool live = false;
  std::optional<absl::Time> valid_until;
  std::optional<absl::Time> last_attested;
  std::optional<absl::Time> last_seen;
  std::string ek_sha256;  // of the EK certificate, lower-case hex
  AgentSettings settings;
  // In a list only the first few of `finding_count`.
  std::vector<ReportedFinding> findings;
  uint64_t finding_count = 0;
  std::vector<ReportedAcceptance> accepted;  // not in a list
  uint64_t entry_count = 0;
  uint64_t good_count = 0;
  uint64_t excluded_count = 0;
  uint64_t attestation_count = 0;
  uint32_t reset_count = 0;
  uint32_t restart_count = 0;
  std::string boot_composite;
  std::string pinned_boot_composite;  // empty: no boot is approved
  std::string state_reason;
  // Those of the last verdict, in their order; not in a list.
  std::vector<JudgedPolicy> judged_policies;

  // What people are shown: the state, or "UNREACHABLE" for an agent that is
  // silent while TRUSTED or PENDING.
  absl::string_view ShownState() const;
  // TRUSTED and live: nothing else counts as such.
  bool IsTrusted() const;
};

// Which agents: all members that are set have to fit.
struct Selector {
  std::optional<AgentId> id;
  std::map<std::string, std::string> labels;
  bool all = false;
};

struct NewAgent {
  AgentId id;
  AgentSettings settings;
  // Lower-case hex; empty with one of the other two only.
  std::string ek_sha256;
  bool trust_on_first_use = false;
  bool vouched = false;  // by a token, or by the list of allowed EKs
};

// An EK that the tenant vouches for.
struct AllowedEk {
  std::string ek_sha256;
  std::string who;
  absl::Time time;
};

struct FleetEvent {
  absl::Time time;
  std::string id;
  AgentState state = AgentState::kUnknown;
  // kUnknown: this is no change, but how the agent stands.
  AgentState previous = AgentState::kUnknown;
  std::vector<ReportedFinding> findings;
  std::string text;
  std::vector<JudgedPolicy> judged_policies = {};  // of a verdict
};

struct Reactivation {
  AgentId id;
  std::vector<std::string> accept;  // ReportedFinding::accept_as
  std::string reason;
  bool reset_counters = false;
  std::string boot_composite = {};  // that is approved, hex; empty: none
};

struct PolicyInfo {
  std::string name;
  std::string content_id;  // SHA-256, hex
  uint64_t version = 0;
  uint64_t size = 0;  // bytes
  uint64_t digest_count = 0;
  uint64_t agent_count = 0;
  std::optional<absl::Time> created;
};

struct StoredPolicy {
  PolicyInfo info;
  std::vector<std::string> warnings;
};

// A policy as the verifier has it.
struct PolicyFile {
  PolicyInfo info;
  std::vector<uint8_t> file;
};

// Errors of all functions: kUnavailable, the verifier can't be reached or its
// certificate is not believed; kDeadlineExceeded; kUnauthenticated and
// kPermissionDenied, it refuses the operator; kNotFound, there is no such agent
// or policy in the operator's tenant; kInternal. Their messages are whole
// sentences, escaped. Threads: each object by one thread at a time.
class Fleet {
 public:
  virtual ~Fleet() = default;

  // kAlreadyExists if it was added before.
  virtual absl::StatusOr<ReportedAgent> Add(const NewAgent& agent) = 0;
  // The same for many, several of them under way at a time. Calls `done` once
  // for each that was begun, in any order, with its index and what came of it;
  // once it has returned false, no further one is begun.
  virtual void AddAll(
      std::span<const NewAgent> agents,
      absl::FunctionRef<bool(size_t index,
                             const absl::StatusOr<ReportedAgent>& added)>
          done) = 0;
  // Changes those members of the settings that `changed` names, "policies" or
  // "labels" for instance; how many agents that were.
  virtual absl::StatusOr<uint64_t> Update(
      const Selector& selector, const AgentSettings& settings,
      const std::vector<std::string>& changed) = 0;
  virtual absl::Status Delete(const AgentId& id) = 0;
  virtual absl::StatusOr<ReportedAgent> Get(const AgentId& id) = 0;
  // Calls `visit` for each agent, page by page.
  virtual absl::Status List(
      const Selector& selector,
      absl::FunctionRef<void(const ReportedAgent&)> visit) = 0;
  // Enrolled, and of no tenant yet.
  virtual absl::StatusOr<std::vector<ReportedAgent>> ListEnrolled() = 0;
  virtual absl::StatusOr<ReportedAgent> Reactivate(
      const Reactivation& reactivation) = 0;
  virtual absl::Status Stop(const AgentId& id) = 0;
  virtual absl::Status AttestNow(const AgentId& id) = 0;
  // Puts EKs (lower-case hex) on the tenant's list, or takes them off it.
  virtual absl::Status AllowEks(const std::vector<std::string>& ek_sha256,
                                bool remove) = 0;
  virtual absl::StatusOr<std::vector<AllowedEk>> ListAllowedEks() = 0;
  // Calls `visit` for each event until it returns false (OK) or the stream
  // breaks (kUnavailable; also where the verifier ends it in order).
  // `with_present`: first how each agent stands.
  virtual absl::Status Watch(
      const Selector& selector, bool with_present,
      absl::FunctionRef<bool(const FleetEvent&)> visit) = 0;

  // Stores `file` under `name`. kAlreadyExists with `create` if there is such a
  // policy, kNotFound without it if there is none.
  virtual absl::StatusOr<StoredPolicy> PutPolicy(const std::string& name,
                                                 bool create,
                                                 absl::string_view file) = 0;
  // kDataLoss if what arrived is not the file that was stored.
  virtual absl::StatusOr<PolicyFile> GetPolicy(const std::string& name) = 0;
  // kFailedPrecondition if an agent uses it.
  virtual absl::Status DeletePolicy(const std::string& name) = 0;
  virtual absl::StatusOr<std::vector<PolicyInfo>> ListPolicies() = 0;

  // A single-use token: the machine that enrols with it belongs to the
  // operator's tenant. nullopt: valid for as long as the verifier says.
  virtual absl::StatusOr<std::string> CreateToken(
      std::optional<absl::Duration> valid_for) = 0;
};

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_FLEET_H_
