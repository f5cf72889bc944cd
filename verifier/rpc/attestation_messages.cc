#include "verifier/rpc/attestation_messages.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/digest.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"
#include "verifier/rpc/fleet_messages.h"

namespace cupel::verifier {
namespace {

std::vector<uint8_t> Bytes(const std::string& text) {
  return {text.begin(), text.end()};
}

absl::Status CheckSize(size_t size, size_t limit, absl::string_view what) {
  if (size <= limit) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      what, ": ", size, " bytes, more than the ", limit, " that are taken"));
}

}  // namespace

absl::StatusOr<HelloMessage> FromProto(const v1::Hello& message) {
  CUPEL_RETURN_IF_ERROR(
      CheckSize(message.ByteSizeLong(), kMaxHelloSize, "hello"));
  CUPEL_ASSIGN_OR_RETURN(AgentId id,
                         AgentId::FromBytes(AsBytes(message.agent_id())));
  HelloMessage hello{.agent_id = id};
  hello.protocol_version = message.protocol_version();
  hello.agent_version = message.agent_version();
  hello.entry_count = message.entry_count();
  for (const std::string& bank : message.banks()) {
    const auto algorithm = crypto::HashAlgorithmFromName(bank);
    if (algorithm.has_value()) hello.banks.push_back(*algorithm);
  }
  hello.list_pcrs.assign(message.list_pcrs().begin(),
                         message.list_pcrs().end());
  hello.big_endian = message.big_endian();
  for (const std::string& stream : message.previous_streams()) {
    hello.previous_streams.push_back(Bytes(stream));
  }
  return hello;
}

absl::StatusOr<QuoteMessage> FromProto(const v1::Quote& message) {
  const size_t list_size =
      message.has_list() ? message.list().ByteSizeLong() : 0;
  CUPEL_RETURN_IF_ERROR(
      CheckSize(message.ByteSizeLong() - list_size, kMaxQuoteSize, "quote"));
  QuoteMessage quote;
  quote.attest = Bytes(message.attest());
  quote.signature = Bytes(message.signature());
  quote.nonce = Bytes(message.nonce());
  for (const v1::PcrValue& value : message.pcrs()) {
    const auto bank = crypto::HashAlgorithmFromName(value.bank());
    if (!bank.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat("quote: no bank ", Quoted(value.bank(), 64)));
    }
    CUPEL_ASSIGN_OR_RETURN(
        const crypto::Digest digest,
        crypto::Digest::Create(*bank, AsBytes(value.value())));
    CUPEL_RETURN_IF_ERROR(quote.pcrs.Set(value.pcr(), digest));
  }
  return quote;
}

absl::StatusOr<ChunkMessage> FromProto(const v1::ListChunk& message) {
  CUPEL_RETURN_IF_ERROR(
      CheckSize(message.data().size(), kMaxChunkSize, "chunk"));
  return ChunkMessage{.data = Bytes(message.data()), .last = message.last()};
}

v1::VerifierMessage ToProto(const ChallengeMessage& message) {
  v1::VerifierMessage result;
  v1::Challenge& challenge = *result.mutable_challenge();
  challenge.set_nonce(ToText(message.nonce));
  challenge.set_certificate_sha256(ToText(message.certificate_sha256));
  for (const tpm::BankSelection& bank : message.selection.banks()) {
    v1::BankSelection& selection = *challenge.add_selection();
    selection.set_bank(std::string(crypto::HashAlgorithmName(bank.bank)));
    for (uint32_t pcr = 0; pcr < crypto::kPcrCount; ++pcr) {
      if (bank.Has(pcr)) selection.add_pcrs(pcr);
    }
  }
  SetProto(message.answer_within, *challenge.mutable_answer_within());
  challenge.set_now(message.now);
  SetProto(message.least_interval, *challenge.mutable_least_interval());
  return result;
}

v1::VerifierMessage ToProto(const ListRequestMessage& message) {
  v1::VerifierMessage result;
  v1::ListRequest& request = *result.mutable_list_request();
  request.set_first_entry(message.first_entry);
  request.set_byte_offset(message.byte_offset);
  request.set_joins(true);
  return result;
}

v1::VerifierMessage ToProto(const VerdictMessage& message) {
  v1::VerifierMessage result;
  v1::Verdict& verdict = *result.mutable_verdict();
  verdict.set_state(std::string(AgentStateName(message.state)));
  verdict.set_next_entry(message.next_entry);
  verdict.set_next_byte_offset(message.next_byte_offset);
  verdict.set_pending_count(message.pending_count);
  for (const std::string& finding : message.findings) {
    verdict.add_findings(finding);
  }
  verdict.set_reason(EscapeForDisplay(message.reason));
  return result;
}

v1::VerifierMessage ToProto(const RefusalMessage& message) {
  v1::VerifierMessage result;
  v1::Refusal& refusal = *result.mutable_refusal();
  refusal.set_reason(EscapeForDisplay(message.reason));
  SetProto(message.retry_after, *refusal.mutable_retry_after());
  return result;
}

}  // namespace cupel::verifier
