#include "common/tpm/quote.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/crypto/digest.h"
#include "common/tpm/constants.h"
#include "common/tpm/signature.h"
#include "common/util/hex.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"

namespace cupel::tpm {

using crypto::Digest;
using crypto::HashAlgorithm;

// One quote's verification: a method a check, in the header's order.
class QuoteVerifier {
 public:
  QuoteVerifier(const AttestationKey& key, std::span<const uint8_t> message,
                const QuoteExpectation& expectation)
      : key_(key), message_(message), expectation_(expectation) {}

  absl::StatusOr<QuoteOutcome> Run(std::span<const uint8_t> signature_bytes) {
    CUPEL_ASSIGN_OR_RETURN(RawAttest raw, ParseRawAttest(message_));
    static_cast<AttestHeader&>(attest_) = std::move(raw.header);
    CheckMagic();
    CheckType();
    CheckAkAttributes();
    CUPEL_RETURN_IF_ERROR(CheckSignatureAndAlgorithm(signature_bytes));
    CheckNonce();
    // The rest of another type holds something else.
    if (attest_.type == StructureTag::kAttestQuote) {
      CUPEL_ASSIGN_OR_RETURN(attest_.quote, ParseQuoteInfo(raw.attested));
      CheckSelection();
      CUPEL_RETURN_IF_ERROR(CheckPcrDigest());
    }
    CUPEL_RETURN_IF_ERROR(CheckSigner());
    if (!failures_.empty()) {
      return QuoteOutcome(
          RejectedQuote{std::move(failures_), signature_valid_, attest_});
    }
    VerifiedQuote verified;
    if (expectation_.values != nullptr) {
      verified.values_ = expectation_.values->Only(attest_.quote.selection);
    }
    verified.attest_ = std::move(attest_);
    verified.unchecked_ = std::move(unchecked_);
    return QuoteOutcome(std::move(verified));
  }

 private:
  void Fail(QuoteCheck check, std::string expected, std::string found,
            std::string detail) {
    failures_.push_back(
        {check, std::move(expected), std::move(found), std::move(detail)});
  }

  void CheckMagic() {
    if (attest_.magic == kGeneratedValue) return;
    Fail(QuoteCheck::kMagic,
         absl::StrCat("0x", absl::Hex(kGeneratedValue, absl::kZeroPad8)),
         absl::StrCat("0x", absl::Hex(attest_.magic, absl::kZeroPad8)),
         "the signed structure was not made by a TPM");
  }

  void CheckType() {
    if (attest_.type == StructureTag::kAttestQuote) return;
    Fail(QuoteCheck::kType, StructureTagName(StructureTag::kAttestQuote),
         StructureTagName(attest_.type), "the signed structure is not a quote");
  }

  void CheckAkAttributes() {
    if (!key_.has_public_area()) {
      unchecked_.push_back(QuoteCheck::kAkAttributes);
      return;
    }
    for (const AkViolation& violation : key_.violations()) {
      Fail(QuoteCheck::kAkAttributes, "", "",
           absl::StrCat("not an attestation key: ", violation.detail));
    }
  }

  absl::Status CheckSignatureAndAlgorithm(std::span<const uint8_t> bytes) {
    const absl::StatusOr<Signature> parsed = ParseSignature(bytes);
    const KeyScheme& fixed = key_.scheme();
    digest_hash_ = fixed.hash;
    if (absl::IsUnimplemented(parsed.status())) {
      Fail(QuoteCheck::kSignatureAlgorithm, "", "",
           std::string(parsed.status().message()));
      Fail(QuoteCheck::kSignature, "", "",
           "the signature could not be checked, so nothing in the quote is "
           "authenticated");
      return absl::OkStatus();
    }
    CUPEL_RETURN_IF_ERROR(parsed.status());
    const Signature& signature = *parsed;
    if (!digest_hash_.has_value()) digest_hash_ = signature.hash;
    const std::string name =
        SignatureAlgorithmName(signature.scheme, signature.hash);
    if (!SchemeFitsKey(signature.scheme, key_.key())) {
      Fail(QuoteCheck::kSignatureAlgorithm, key_.key().Description(), name,
           "the signature's scheme is not one of the key's kind");
      Fail(QuoteCheck::kSignature, "", "",
           "the signature is not the key's, so nothing in the quote is "
           "authenticated");
      return absl::OkStatus();
    }
    if (fixed.hash.has_value() &&
        (fixed.scheme != signature.scheme || *fixed.hash != signature.hash)) {
      Fail(QuoteCheck::kSignatureAlgorithm,
           SignatureAlgorithmName(fixed.scheme, *fixed.hash), name,
           "the signature's scheme is not the key's fixed one");
    }
    const absl::Status checked = key_.CheckSignature(signature, message_);
    signature_valid_ = checked.ok();
    if (absl::IsPermissionDenied(checked)) {
      Fail(QuoteCheck::kSignature, "", "",
           "the signature is not the key's, so nothing in the quote is "
           "authenticated");
      return absl::OkStatus();
    }
    return WithContext(checked, "checking the quote's signature");
  }

  void CheckNonce() {
    if (std::ranges::equal(attest_.extra_data, expectation_.qualifying_data)) {
      return;
    }
    Fail(QuoteCheck::kNonce, HexEncode(expectation_.qualifying_data),
         HexEncode(attest_.extra_data),
         "the quote answers another challenge: its qualifying data differs");
  }

  void CheckSelection() {
    const PcrSelection& selection = attest_.quote.selection;
    if (expectation_.selection == nullptr) {
      unchecked_.push_back(QuoteCheck::kSelection);
      if (!selection.IsEmpty()) return;
    } else if (!selection.IsEmpty() && selection == *expectation_.selection) {
      return;
    }
    Fail(QuoteCheck::kSelection,
         expectation_.selection == nullptr ? ""
                                           : expectation_.selection->ToString(),
         selection.ToString(),
         selection.IsEmpty()
             ? "the quote covers no PCR: the bank asked for is not allocated"
             : "the quote covers other PCRs than those asked for");
  }

  absl::Status CheckPcrDigest() {
    const std::vector<uint8_t>& signed_digest = attest_.quote.pcr_digest;
    // Without a scheme and without a readable signature no hash is known; the
    // quote has failed already.
    if (digest_hash_.has_value() &&
        signed_digest.size() != crypto::DigestSize(*digest_hash_)) {
      Fail(QuoteCheck::kPcrDigest,
           absl::StrCat(crypto::DigestSize(*digest_hash_), " bytes (",
                        BankName(*digest_hash_), ")"),
           absl::StrCat(signed_digest.size(), " bytes"),
           "the PCR digest is not one of the signing scheme's hash");
      return absl::OkStatus();
    }
    if (expectation_.values == nullptr) {
      unchecked_.push_back(QuoteCheck::kPcrDigest);
      return absl::OkStatus();
    }
    if (!digest_hash_.has_value() || !crypto::CanHash(*digest_hash_)) {
      return absl::OkStatus();
    }
    const absl::StatusOr<Digest> computed = PcrComposite(
        *digest_hash_, attest_.quote.selection, *expectation_.values);
    if (absl::IsNotFound(computed.status())) {
      Fail(QuoteCheck::kPcrDigest, "", "",
           absl::StrCat("the PCR values given are not those quoted: ",
                        computed.status().message()));
      return absl::OkStatus();
    }
    CUPEL_RETURN_IF_ERROR(computed.status());
    if (!std::ranges::equal(computed->bytes(), signed_digest)) {
      Fail(QuoteCheck::kPcrDigest, HexEncode(signed_digest), computed->Hex(),
           "the PCR values given are not those quoted: their digest differs "
           "from the signed one");
    }
    return absl::OkStatus();
  }

  absl::Status CheckSigner() {
    if (!key_.has_public_area() || expectation_.ek_name.empty()) {
      unchecked_.push_back(QuoteCheck::kSigner);
      return absl::OkStatus();
    }
    CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> ek,
                           EkQualifiedName(expectation_.ek_name));
    CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> expected,
                           QualifiedName(ek, key_.name()));
    if (expected == attest_.qualified_signer) return absl::OkStatus();
    Fail(QuoteCheck::kSigner, HexEncode(expected),
         HexEncode(attest_.qualified_signer),
         "the signer is not this key as a child of this endorsement key");
    return absl::OkStatus();
  }

  const AttestationKey& key_;
  const std::span<const uint8_t> message_;
  const QuoteExpectation& expectation_;

  Attest attest_;
  // The hash of pcrDigest: the key's fixed one, else the signature's.
  std::optional<HashAlgorithm> digest_hash_;
  bool signature_valid_ = false;
  std::vector<FailedCheck> failures_;
  std::vector<QuoteCheck> unchecked_;
};

absl::string_view QuoteCheckId(QuoteCheck check) {
  switch (check) {
    case QuoteCheck::kMagic:
      return "quote.magic";
    case QuoteCheck::kType:
      return "quote.type";
    case QuoteCheck::kAkAttributes:
      return "quote.ak_attributes";
    case QuoteCheck::kSignatureAlgorithm:
      return "quote.signature_algorithm";
    case QuoteCheck::kSignature:
      return "quote.signature";
    case QuoteCheck::kNonce:
      return "quote.nonce";
    case QuoteCheck::kSelection:
      return "quote.selection";
    case QuoteCheck::kPcrDigest:
      return "quote.pcr_digest";
    case QuoteCheck::kSigner:
      return "quote.signer";
  }
  return "quote.unknown";
}

bool VerifiedQuote::WasChecked(QuoteCheck check) const {
  return std::ranges::find(unchecked_, check) == unchecked_.end();
}

absl::StatusOr<QuoteOutcome> VerifyQuote(const AttestationKey& key,
                                         std::span<const uint8_t> attest,
                                         std::span<const uint8_t> signature,
                                         const QuoteExpectation& expectation) {
  return QuoteVerifier(key, attest, expectation).Run(signature);
}

}  // namespace cupel::tpm
