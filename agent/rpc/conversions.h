// An attestation stream's messages, between proto/cupel/v1/evidence.proto and
// plain values.
#ifndef CUPEL_AGENT_RPC_CONVERSIONS_H_
#define CUPEL_AGENT_RPC_CONVERSIONS_H_

#include <optional>

#include "absl/status/statusor.h"
#include "agent/attester/messages.h"
#include "proto/cupel/v1/evidence.pb.h"

namespace cupel::agent {

v1::AgentMessage ToProto(AgentMessage message);

// kInvalidArgument for a message of no kind that is known, and for a selection
// that is none: an unknown bank, PCRs above 23 or not ascending.
absl::StatusOr<VerifierMessage> FromProto(const v1::VerifierMessage& message);
// What `message` has brought along and that follows it: a verdict's next
// challenge. Errors as above.
absl::StatusOr<std::optional<VerifierMessage>> JoinedFromProto(
    const v1::VerifierMessage& message);

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_RPC_CONVERSIONS_H_
