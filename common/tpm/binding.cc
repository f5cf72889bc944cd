#include "common/tpm/binding.h"

#include <openssl/hmac.h>

#include <array>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/crypto/openssl.h"
#include "common/crypto/public_key.h"
#include "common/tpm/public_area.h"
#include "common/util/bytes.h"
#include "common/util/status_macros.h"

namespace cupel::tpm {
namespace {

using crypto::Digest;
using crypto::HashAlgorithm;

constexpr absl::string_view kQuoteLabel = "cupel-quote-v1";
constexpr absl::string_view kEnrollmentLabel = "cupel-enrol-v1";

absl::Status CheckCertificateHash(const Digest& hash) {
  if (hash.algorithm() == HashAlgorithm::kSha256) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the verifier's certificate's hash is ",
      crypto::HashAlgorithmName(hash.algorithm()), ", expected sha256"));
}

}  // namespace

std::vector<uint8_t> LengthPrefixed(
    std::initializer_list<std::span<const uint8_t>> parts) {
  std::vector<uint8_t> out;
  for (const std::span<const uint8_t> part : parts) {
    AppendBe(out, static_cast<uint32_t>(part.size()));
    Append(out, part);
  }
  return out;
}

absl::StatusOr<Digest> QuoteQualifyingData(std::span<const uint8_t> nonce,
                                           const AgentId& agent_id,
                                           const Digest& verifier_certificate) {
  if (nonce.size() != kNonceSize) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a nonce of ", nonce.size(), " bytes, expected ", kNonceSize));
  }
  CUPEL_RETURN_IF_ERROR(CheckCertificateHash(verifier_certificate));
  return crypto::Hash(
      HashAlgorithm::kSha256,
      LengthPrefixed({AsBytes(kQuoteLabel), nonce, agent_id.bytes(),
                      verifier_certificate.bytes()}));
}

absl::StatusOr<Secret> EnrollmentProof(const Secret& secret,
                                       const EnrollmentBinding& binding) {
  if (secret.size() != kEnrollmentSecretSize) {
    return absl::InvalidArgumentError(
        absl::StrCat("an enrolment secret of ", secret.size(),
                     " bytes, expected ", kEnrollmentSecretSize));
  }
  if (binding.cookie.empty() || binding.agent_id == nullptr ||
      binding.verifier_certificate == nullptr) {
    return absl::InvalidArgumentError(
        "an enrolment is bound to a cookie, an agent id and a verifier");
  }
  // Refuses what is no Name.
  CUPEL_RETURN_IF_ERROR(QualifiedName({}, binding.ek_name).status());
  CUPEL_RETURN_IF_ERROR(QualifiedName({}, binding.ak_name).status());
  CUPEL_RETURN_IF_ERROR(CheckCertificateHash(*binding.verifier_certificate));
  const Digest cookie = crypto::Hash(HashAlgorithm::kSha256, binding.cookie);
  const std::vector<uint8_t> message =
      LengthPrefixed({AsBytes(kEnrollmentLabel), cookie.bytes(),
                      binding.agent_id->bytes(), binding.ek_name,
                      binding.ak_name, binding.verifier_certificate->bytes()});
  std::array<uint8_t, kEnrollmentProofSize> mac{};
  unsigned size = 0;
  if (HMAC(crypto::FetchedDigest(HashAlgorithm::kSha256),
           secret.Reveal().data(), static_cast<int>(secret.size()),
           message.data(), message.size(), mac.data(), &size) == nullptr ||
      size != mac.size()) {
    return crypto::OpensslError("HMAC");
  }
  return Secret(mac);
}

}  // namespace cupel::tpm
