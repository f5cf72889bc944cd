// The messages of proto/cupel/v1/evidence.proto from and to those that a
// session takes.
//
// Trust: what comes from the agent is hostile. An error here says that a
// message could not have been meant; whether to believe it is the session's.
#ifndef CUPEL_VERIFIER_RPC_ATTESTATION_MESSAGES_H_
#define CUPEL_VERIFIER_RPC_ATTESTATION_MESSAGES_H_

#include <cstddef>

#include "absl/status/statusor.h"
#include "proto/cupel/v1/evidence.pb.h"
#include "verifier/session/messages.h"

namespace cupel::verifier {

inline constexpr size_t kMaxHelloSize = 4096;

// kInvalidArgument for an id that is none; kResourceExhausted over
// kMaxHelloSize. Banks that Cupel doesn't know are left out.
absl::StatusOr<HelloMessage> FromProto(const v1::Hello& message);
// kInvalidArgument for PCR values that have the wrong size, stand twice or are
// of no bank; kResourceExhausted over kMaxQuoteSize.
absl::StatusOr<QuoteMessage> FromProto(const v1::Quote& message);
// kResourceExhausted over kMaxChunkSize.
absl::StatusOr<ChunkMessage> FromProto(const v1::ListChunk& message);

v1::VerifierMessage ToProto(const ChallengeMessage& message);
v1::VerifierMessage ToProto(const ListRequestMessage& message);
v1::VerifierMessage ToProto(const VerdictMessage& message);
v1::VerifierMessage ToProto(const RefusalMessage& message);

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_RPC_ATTESTATION_MESSAGES_H_
