// Files of PCR values as users have them.
#ifndef CUPEL_COMMON_TPM_PCR_FILE_H_
#define CUPEL_COMMON_TPM_PCR_FILE_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/tpm/pcr_selection.h"
#include "common/tpm/pcr_values.h"

namespace cupel::tpm {

// Larger files are refused unread: 16 banks of 24 PCRs need under 64 KiB in
// every form.
inline constexpr size_t kMaxPcrFileSize = size_t{1} << 20;

enum class PcrFileFormat {
  kYaml,        // tpm2_pcrread, tpm2_checkquote, tpm2_quote: standard output
  kEvmctl,      // "PCR-10: AB CD ..."
  kJson,        // {"sha256": {"10": "ab12..."}}
  kSerialized,  // tpm2_quote -F serialized
  kRaw,         // tpm2_quote -F values, tpm2_pcrread -o
};

struct PcrFile {
  PcrFileFormat format = PcrFileFormat::kYaml;
  PcrValues values;
};

// Parses a file of PCR values. Which form it has is seen from its content:
//
// * Text (nothing but printable ASCII, tab, CR, LF): JSON if it starts with
//   '{', evmctl's lines if it starts with "PCR-", else tpm2-tools' text.
//     - JSON: bank names to objects of decimal PCR numbers to hex. A member "*"
//       must be empty: a machine without a TPM.
//     - evmctl: a PCR a line, bytes in hex with spaces; the length alone names
//       the bank (20 bytes SHA-1, 32 SHA-256, 48 SHA-384, 64 SHA-512).
//     - tpm2-tools: a bank's name, then "N : 0xHEX" lines. What tpm2_quote and
//       tpm2_checkquote print around them is skipped.
// * Serialized: the C structs of tpm2-tools on a little-endian machine:
//   TPML_PCR_SELECTION (u32 count, 16 of {u16 hash, u8 size, u8[4], u8 pad}),
//   u32 count, and that many TPML_DIGEST (u32 count, 8 of {u16 size, u8[64]}).
//   Bytes that the counts leave unused are not looked at. Every TPML_DIGEST but
//   the last is what one TPM2_PCR_Read gave: at most 8, in the selection's
//   order.
// * Raw: values one after another, nothing else; what they are values of
//   stands in `selection`, which a quote's signed selection gives. tpm2-tools
//   writes them in the order asked for, which is the order signed.
//
// A binary file that could be read both ways is refused. `selection` is used
// for raw values alone.
//
// Errors, naming line or member, and the cure: kInvalidArgument for anything
// malformed, a PCR given twice or above 23, a digest of the wrong size, a
// selected PCR without a value; kFailedPrecondition for raw values without a
// selection; kResourceExhausted over kMaxPcrFileSize.
absl::StatusOr<PcrFile> ParsePcrFile(std::span<const uint8_t> bytes,
                                     const PcrSelection* selection = nullptr);

}  // namespace cupel::tpm

#endif  // CUPEL_COMMON_TPM_PCR_FILE_H_
