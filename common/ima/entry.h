// One record of the kernel's measurement list, as views into the list's bytes.
//
// Trust: everything here comes from the attested machine. What the PCR of a
// verified quote covers is `template_data` alone; the digest column and the
// template's name are covered by nothing (attack A43).
//
// Format: Linux security/integrity/ima/ima_fs.c, ima_measurements_show().
#ifndef CUPEL_COMMON_IMA_ENTRY_H_
#define CUPEL_COMMON_IMA_ENTRY_H_

#include <algorithm>
#include <cstdint>
#include <span>

#include "absl/strings/string_view.h"
#include "common/crypto/pcr.h"

namespace cupel::ima {

// The PCR that IMA extends unless a rule says `pcr=`
// (CONFIG_IMA_MEASURE_PCR_IDX).
inline constexpr uint32_t kImaPcr = 10;
using crypto::kPcrCount;

struct Entry {
  uint32_t pcr = 0;
  // As reported; 20 bytes in the plain file, the bank's size in a bank's file.
  std::span<const uint8_t> template_digest;
  // A built-in name ("ima-ng") or a custom format string ("d-ng|n-ng|sig"):
  // one or more printable ASCII characters, no space, no NUL.
  absl::string_view template_name;
  // The fields, each u32 size | bytes. For the template "ima" it is
  // u8[20] digest | u32 size | file name, as in the record; what the kernel
  // hashes then is another string of bytes, see HashedTemplateData.
  std::span<const uint8_t> template_data;
  // The record's place in the list, for messages and resumption: how many
  // records and how many bytes come before it, and how many bytes it has.
  uint64_t index = 0;
  uint64_t offset = 0;
  uint32_t record_size = 0;

  // True for an open-writers or ToMToU violation: the digest column is all
  // zeros, and the kernel extended every bank with 0xff bytes
  // (Linux security/integrity/ima/ima_template.c, ima_queue.c).
  bool IsViolation() const {
    return std::ranges::all_of(template_digest,
                               [](uint8_t byte) { return byte == 0; });
  }
  // The template "ima", whose record and hash differ from all others.
  bool IsLegacy() const { return template_name == "ima"; }
};

}  // namespace cupel::ima

#endif  // CUPEL_COMMON_IMA_ENTRY_H_
