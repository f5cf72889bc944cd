// The messages of proto/cupel/v1/fleet.proto from and to the store's records.
#ifndef CUPEL_VERIFIER_RPC_FLEET_MESSAGES_H_
#define CUPEL_VERIFIER_RPC_FLEET_MESSAGES_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/map.h"
#include "google/protobuf/timestamp.pb.h"
#include "proto/cupel/v1/fleet.pb.h"
#include "verifier/store/store.h"

namespace cupel::verifier {

// Bounds on what an operator may set.
inline constexpr size_t kMaxPolicyNameSize = 128;
inline constexpr int kMaxPoliciesPerAgent = 32;
inline constexpr size_t kMaxLabelCount = 64;
inline constexpr size_t kMaxLabelSize = 256;
inline constexpr size_t kMaxBootRuleSize = size_t{16} << 10;
inline constexpr absl::Duration kLeastInterval = absl::Milliseconds(500);
inline constexpr absl::Duration kMostInterval = absl::Hours(24);

void SetProto(absl::Time time, google::protobuf::Timestamp& message);
void SetProto(absl::Duration duration, google::protobuf::Duration& message);
// kInvalidArgument for one that is not in protobuf's canonical range.
absl::StatusOr<absl::Duration> DurationFromProto(
    const google::protobuf::Duration& message, absl::string_view name);

v1::State ToProto(AgentState state);
v1::Finding ToProto(const appraisal::Finding& finding);
v1::AcceptedFinding ToProto(const AcceptedFinding& finding);
v1::JudgedPolicy ToProto(const JudgedPolicy& policy);
v1::AgentSettings ToProto(const AgentSettings& settings);
// The agent as it is at `now`; live if it was seen since `live_since`.
// kSummary: with its first findings, without what was accepted, and without the
// policies of the last verdict.
enum class Detail : uint8_t { kAll, kSummary };
v1::Agent ToProto(const AgentRecord& record, absl::Time now,
                  absl::Time live_since, Detail detail = Detail::kAll);
v1::Event ToProto(const AgentEvent& event);
v1::PolicyInfo ToProto(const PolicyRecord& record);
v1::AllowedEk ToProto(const AllowedEk& ek);

// kInvalidArgument, with the member's name, for what no agent can be judged by
// or what passes a bound above.
absl::StatusOr<AgentSettings> FromProto(const v1::AgentSettings& message);

// A name that a policy may have: letters, digits, '.', '_' and '-', and no dot
// first. Else kInvalidArgument.
absl::Status CheckPolicyName(absl::string_view name);

absl::StatusOr<std::map<std::string, std::string>> LabelsFromProto(
    const google::protobuf::Map<std::string, std::string>& labels);

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_RPC_FLEET_MESSAGES_H_
