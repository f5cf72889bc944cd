// Checks a TPM's quote. This is where PCR values become trustworthy.
#ifndef CUPEL_COMMON_TPM_QUOTE_H_
#define CUPEL_COMMON_TPM_QUOTE_H_

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/tpm/attest.h"
#include "common/tpm/attestation_key.h"
#include "common/tpm/pcr_selection.h"
#include "common/tpm/pcr_values.h"

namespace cupel::tpm {

// The checks, in the order in which they are made. Their ids are stable.
enum class QuoteCheck : uint8_t {
  kMagic,               // "quote.magic"
  kType,                // "quote.type"
  kAkAttributes,        // "quote.ak_attributes"
  kSignatureAlgorithm,  // "quote.signature_algorithm"
  kSignature,           // "quote.signature"
  kNonce,               // "quote.nonce"
  kSelection,           // "quote.selection"
  kPcrDigest,           // "quote.pcr_digest"
  kSigner,              // "quote.signer"
};
// Of static storage.
absl::string_view QuoteCheckId(QuoteCheck check);

// What the quote is to be compared with. All is borrowed for the call.
struct QuoteExpectation {
  // The qualifying data asked for. Always compared: an empty one matches a
  // quote without a nonce alone.
  std::span<const uint8_t> qualifying_data = {};
  // The selection asked for; nullptr where it is not known.
  const PcrSelection* selection = nullptr;
  // The reported PCR values, more than the signed ones or not; nullptr where
  // there are none.
  const PcrValues* values = nullptr;
  // The Name of the EK that the AK is a child of; empty where it is not known.
  std::span<const uint8_t> ek_name = {};
};

// Two ways to fail one check ("size" and "content", several attributes) are two
// of these.
struct FailedCheck {
  QuoteCheck check;
  std::string expected;  // hex or words; empty where it says nothing
  std::string found;
  std::string detail;  // one sentence for people
};

// A quote that passed every check that could be made. Only VerifyQuote makes
// one.
class VerifiedQuote {
 public:
  const Attest& attest() const { return attest_; }
  const PcrSelection& selection() const { return attest_.quote.selection; }
  // The values that the quote vouches for: one for each selected PCR and no
  // other. Empty where no values were given.
  const PcrValues& values() const { return values_; }
  // The checks that could not be made, for want of something to compare with:
  // kAkAttributes (a bare public key), kSigner (no EK or no AK Name),
  // kSelection (none was given; that it is not empty was checked all the same),
  // kPcrDigest (no values were given).
  const std::vector<QuoteCheck>& unchecked() const { return unchecked_; }
  bool WasChecked(QuoteCheck check) const;

 private:
  friend class QuoteVerifier;
  VerifiedQuote() = default;

  Attest attest_;
  PcrValues values_;
  std::vector<QuoteCheck> unchecked_;
};

// A quote that failed at least one check.
struct RejectedQuote {
  std::vector<FailedCheck> failures;  // in the order of QuoteCheck
  // Whether the key signed these bytes. Where it did not, nothing in the quote
  // is authenticated, and the other failures are hints about what went wrong.
  bool signature_valid = false;
  // What the quote says; not to be trusted.
  AttestHeader reported;
};

using QuoteOutcome = std::variant<VerifiedQuote, RejectedQuote>;

// Checks the quote `attest` (TPMS_ATTEST) with its `signature`
// (TPMT_SIGNATURE) by `key`:
//
//  1. magic is TPM_GENERATED_VALUE: the TPM made this structure itself;
//  2. type is TPM_ST_ATTEST_QUOTE;
//  3. the key is an attestation key (ValidateAkAttributes);
//  4. the signature's scheme and hash are accepted, fit the key, and are the
//     key's fixed ones;
//  5. the signature over `attest` is the key's;
//  6. extraData equals the qualifying data asked for;
//  7. the signed selection is not empty (the TPM clears the PCRs of a bank that
//     is not allocated), and equals the one asked for, order included;
//  8. pcrDigest has the size of the signing scheme's hash, whatever the banks
//     are, and is that hash of the PCR values given, in the signed order;
//  9. qualifiedSigner is the Qualified Name of this key under this EK.
//
// Every check that can be judged is, whatever the others say. 3 needs a public
// area, 9 one and the EK's Name; the second halves of 7 and 8 need something to
// compare with. What could not be made is in VerifiedQuote::unchecked().
//
// Errors, with which nothing is decided: kInvalidArgument or kResourceExhausted
// if `attest` or `signature` is malformed; kInternal where OpenSSL fails.
absl::StatusOr<QuoteOutcome> VerifyQuote(const AttestationKey& key,
                                         std::span<const uint8_t> attest,
                                         std::span<const uint8_t> signature,
                                         const QuoteExpectation& expectation);

}  // namespace cupel::tpm

#endif  // CUPEL_COMMON_TPM_QUOTE_H_
