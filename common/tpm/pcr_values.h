// Values of PCRs, by bank and number.
#ifndef CUPEL_COMMON_TPM_PCR_VALUES_H_
#define CUPEL_COMMON_TPM_PCR_VALUES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/crypto/digest.h"
#include "common/tpm/pcr_selection.h"

namespace cupel::tpm {

// A map from (bank, PCR 0 to 23) to the PCR's value, whose algorithm is the
// bank. Where the values come from, and whether anything vouches for them, is
// for its owner to know.
class PcrValues {
 public:
  // The value's algorithm is the bank. kInvalidArgument if `pcr` is above 23,
  // kAlreadyExists if that PCR has a value already (it stays).
  absl::Status Set(uint32_t pcr, const crypto::Digest& value);

  // nullptr if there is none. Valid until the next Set.
  const crypto::Digest* Find(crypto::HashAlgorithm bank, uint32_t pcr) const;

  // Banks in the order in which they were first set, PCRs ascending.
  void ForEach(absl::FunctionRef<void(uint32_t pcr, const crypto::Digest&)>
                   callback) const;

  // In the order in which they were first set.
  std::vector<crypto::HashAlgorithm> banks() const;
  bool empty() const { return banks_.empty(); }
  // The number of values, all banks together.
  size_t size() const;

  // What there are values of, banks in the order of banks().
  PcrSelection Selection() const;
  // Those of `selection` that have values, and no others; in its order.
  PcrValues Only(const PcrSelection& selection) const;

  // The same values, whatever the order of the banks.
  friend bool operator==(const PcrValues& a, const PcrValues& b);

 private:
  struct Bank {
    crypto::HashAlgorithm algorithm;
    std::array<std::optional<crypto::Digest>, kPcrCount> values;
  };
  const Bank* FindBank(crypto::HashAlgorithm algorithm) const;

  std::vector<Bank> banks_;
};

// The digest that a quote signs: `algorithm` over the selected PCRs' values,
// banks as listed, PCRs ascending inside of one (TPM 2.0 Part 3, 18.4).
// `algorithm` is the signing scheme's hash, whatever the banks are.
//
// kNotFound names the first PCR without a value; kInvalidArgument unless
// crypto::CanHash(algorithm).
absl::StatusOr<crypto::Digest> PcrComposite(crypto::HashAlgorithm algorithm,
                                            const PcrSelection& selection,
                                            const PcrValues& values);

}  // namespace cupel::tpm

#endif  // CUPEL_COMMON_TPM_PCR_VALUES_H_
