// A signer of DSSE envelopes with a real key, for tests.
#ifndef CUPEL_TESTS_SUPPORT_DSSE_SIGNER_H_
#define CUPEL_TESTS_SUPPORT_DSSE_SIGNER_H_

#include <openssl/pem.h>

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "catch2/catch.hpp"
#include "common/crypto/dsse.h"
#include "common/crypto/openssl.h"
#include "common/util/bytes.h"
#include "tests/support/status_matchers.h"

namespace cupel::testing {

inline constexpr char kPolicyType[] = "application/vnd.keylime+json";

// A key pair made for one test.
class Signer {
 public:
  explicit Signer(const char* curve) : key_(EVP_EC_gen(curve)) {
    REQUIRE(key_ != nullptr);
  }
  std::string Pem() const {
    const crypto::Owned<BIO> out(BIO_new(BIO_s_mem()));
    REQUIRE(PEM_write_bio_PUBKEY(out.get(), key_.get()) == 1);
    char* text = nullptr;
    const long size = BIO_get_mem_data(out.get(), &text);
    return {text, static_cast<size_t>(size)};
  }
  crypto::PublicKey Public() const {
    auto key = crypto::PublicKey::FromPem(Pem());
    REQUIRE_THAT(key.status(), IsOk());
    return *std::move(key);
  }
  std::vector<uint8_t> Sign(std::span<const uint8_t> message,
                            crypto::HashAlgorithm hash) const {
    const crypto::Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
    REQUIRE(EVP_DigestSignInit(context.get(), nullptr,
                               crypto::FetchedDigest(hash), nullptr,
                               key_.get()) == 1);
    size_t size = 0;
    REQUIRE(EVP_DigestSign(context.get(), nullptr, &size, message.data(),
                           message.size()) == 1);
    std::vector<uint8_t> signature(size);
    REQUIRE(EVP_DigestSign(context.get(), signature.data(), &size,
                           message.data(), message.size()) == 1);
    signature.resize(size);
    return signature;
  }
  crypto::DsseEnvelope Envelope(
      absl::string_view payload,
      crypto::HashAlgorithm hash = crypto::HashAlgorithm::kSha256) const {
    crypto::DsseEnvelope envelope;
    envelope.payload_type = kPolicyType;
    envelope.payload = ToVector(AsBytes(payload));
    envelope.signatures.push_back(
        {"key", Sign(crypto::DssePreAuthEncoding(kPolicyType, envelope.payload),
                     hash)});
    return envelope;
  }

 private:
  crypto::Owned<EVP_PKEY> key_;
};

inline std::string EnvelopeJson(const crypto::DsseEnvelope& envelope) {
  std::string signatures;
  for (const crypto::DsseSignature& signature : envelope.signatures) {
    absl::StrAppend(&signatures, signatures.empty() ? "" : ",", "{\"keyid\":\"",
                    signature.key_id, "\",\"sig\":\"",
                    crypto::EncodeBase64(signature.signature), "\"}");
  }
  return absl::StrCat("{\"payload\":\"", crypto::EncodeBase64(envelope.payload),
                      "\",\"payloadType\":\"", envelope.payload_type,
                      "\",\"signatures\":[", signatures, "]}");
}

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_DSSE_SIGNER_H_
