// TPML_PCR_SELECTION: which PCRs of which banks.
#ifndef CUPEL_COMMON_TPM_PCR_SELECTION_H_
#define CUPEL_COMMON_TPM_PCR_SELECTION_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/digest.h"
#include "common/crypto/pcr.h"
#include "common/util/byte_reader.h"

namespace cupel::tpm {

using crypto::kPcrCount;
inline constexpr uint32_t kAllPcrs = 0xffffff;
// TPM2_NUM_PCR_BANKS of the TSS: more banks than any TPM has.
inline constexpr size_t kMaxPcrBanks = 16;

// One bank's PCRs: bit n of `mask` is PCR n.
struct BankSelection {
  crypto::HashAlgorithm bank = crypto::HashAlgorithm::kSha256;
  uint32_t mask = 0;

  bool Has(uint32_t pcr) const {
    return pcr < kPcrCount && (mask >> pcr & 1) != 0;
  }
  friend bool operator==(const BankSelection&, const BankSelection&) = default;
};

// An ordered list of banks, each at most once, with PCR 0 to 23. The order
// matters: it is the order in which a quote hashes the values (banks as listed,
// PCRs ascending inside of one; TPM 2.0 Part 3, 18.4). Equality is exact: the
// same banks, in the same order, with the same PCRs.
class PcrSelection {
 public:
  // No bank at all.
  PcrSelection() = default;

  // kInvalidArgument if a bank occurs twice or has no TPM_ALG_ID, if there are
  // more than kMaxPcrBanks, or if a PCR is above 23.
  static absl::StatusOr<PcrSelection> Create(std::vector<BankSelection> banks);

  // Reads a TPML_PCR_SELECTION (TPM 2.0 Part 2, 10.9.7) from a big-endian
  // reader. kInvalidArgument if it is cut, names a bank twice or a bank that
  // Cupel does not know, if sizeofSelect is not 3 or 4 (a PC client TPM's is 3;
  // some stacks write 4), or if a PCR above 23 is selected.
  static absl::StatusOr<PcrSelection> Read(ByteReader& reader);
  // The same for a buffer that holds nothing else.
  static absl::StatusOr<PcrSelection> Parse(std::span<const uint8_t> bytes);

  // tpm2-tools' form: "sha256:0,1,10+sha1:10"; "all" and "none" may stand for a
  // bank's PCRs. kInvalidArgument for anything else, a bank or a PCR that
  // occurs twice, a PCR above 23, white space.
  static absl::StatusOr<PcrSelection> FromString(absl::string_view text);

  // The form above: PCRs ascending and listed one by one, "none" for a bank
  // without PCRs. "" where there is no bank.
  std::string ToString() const;

  // As TPM 2.0 marshals it, with sizeofSelect 3.
  std::vector<uint8_t> Serialize() const;

  const std::vector<BankSelection>& banks() const { return banks_; }
  // The PCRs selected in `bank`, 0 where it is not listed.
  uint32_t MaskOf(crypto::HashAlgorithm bank) const;
  bool Has(crypto::HashAlgorithm bank, uint32_t pcr) const;
  // True if no PCR of any bank is selected.
  bool IsEmpty() const { return pcr_count() == 0; }
  // The number of PCRs selected, all banks together.
  size_t pcr_count() const;
  // The size of their values, one after another, in bytes.
  size_t values_size() const;

  friend bool operator==(const PcrSelection&, const PcrSelection&) = default;

 private:
  explicit PcrSelection(std::vector<BankSelection> banks)
      : banks_(std::move(banks)) {}

  std::vector<BankSelection> banks_;
};

}  // namespace cupel::tpm

#endif  // CUPEL_COMMON_TPM_PCR_SELECTION_H_
