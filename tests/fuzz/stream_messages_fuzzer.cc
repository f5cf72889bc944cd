// Messages of any content, from agent, verifier and operator: what is taken is
// within the bounds that the rest relies upon. Input: which message, and its
// bytes on the wire.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <variant>

#include "agent/rpc/conversions.h"
#include "common/crypto/pcr.h"
#include "common/policy/ima_policy_paths.h"
#include "common/util/bytes.h"
#include "proto/cupel/v1/evidence.pb.h"
#include "proto/cupel/v1/fleet.pb.h"
#include "verifier/rpc/attestation_messages.h"
#include "verifier/rpc/fleet_messages.h"
#include "verifier/session/boot_setting.h"

namespace {

namespace v1 = cupel::v1;

void CheckFromAgent(const v1::AgentMessage& message) {
  namespace verifier = cupel::verifier;
  if (const auto hello = verifier::FromProto(message.hello()); hello.ok()) {
    if (hello->agent_version.size() > verifier::kMaxHelloSize) std::abort();
  }
  if (const auto quote = verifier::FromProto(message.quote()); quote.ok()) {
    if (quote->attest.size() > verifier::kMaxQuoteSize) std::abort();
    quote->pcrs.ForEach([](uint32_t pcr, const cupel::crypto::Digest&) {
      if (pcr >= cupel::crypto::kPcrCount) std::abort();
    });
  }
  if (const auto chunk = verifier::FromProto(message.chunk()); chunk.ok()) {
    if (chunk->data.size() != message.chunk().data().size()) std::abort();
  }
}

void CheckFromVerifier(const v1::VerifierMessage& message) {
  const auto taken = cupel::agent::FromProto(message);
  if (!taken.ok()) return;
  if (const auto* challenge =
          std::get_if<cupel::agent::ChallengeMessage>(&*taken)) {
    for (const auto& bank : challenge->selection.banks()) {
      if (bank.mask >> cupel::crypto::kPcrCount != 0) std::abort();
    }
  }
}

void CheckFromOperator(const v1::AgentSettings& message) {
  const auto settings = cupel::verifier::FromProto(message);
  if (!settings.ok()) return;
  if (settings->policies.size() > cupel::verifier::kMaxPoliciesPerAgent) {
    std::abort();
  }
  for (const std::string& policy : settings->policies) {
    if (!cupel::verifier::CheckPolicyName(policy).ok()) std::abort();
  }
  if (!cupel::policy::ValidateImaPolicyPaths(settings->ima_policies).ok()) {
    std::abort();
  }
  if (settings->boot.empty() || settings->boot == "pinned") return;
  // What was taken as a setting has to be one when it is needed.
  if (!cupel::verifier::BootRuleOf(settings->boot, "").ok()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string wire(cupel::AsText({data + 1, size - 1}));
  switch (data[0] % 3) {
    case 0:
      if (v1::AgentMessage message; message.ParseFromString(wire)) {
        CheckFromAgent(message);
      }
      break;
    case 1:
      if (v1::VerifierMessage message; message.ParseFromString(wire)) {
        CheckFromVerifier(message);
      }
      break;
    default:
      if (v1::AgentSettings message; message.ParseFromString(wire)) {
        CheckFromOperator(message);
      }
      break;
  }
  return 0;
}
