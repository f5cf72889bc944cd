// The lists in tests/vectors/ima, which kernels wrote, and the PCRs that went
// with them.
#ifndef CUPEL_TESTS_SUPPORT_REAL_LISTS_H_
#define CUPEL_TESTS_SUPPORT_REAL_LISTS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/crypto/digest.h"
#include "common/ima/entry.h"
#include "common/ima/list_parser.h"

namespace cupel::testing {

struct RealList {
  std::string name;    // the folder's, "kexec-second-kernel/before-kexec"
  std::string folder;  // its path
  std::vector<uint8_t> binary;
  std::string ascii;
  // Bank and PCR to value; empty where the machine had no TPM.
  std::map<std::string, std::map<uint32_t, std::string>> pcrs;

  // The PCRs went on from another kernel's list: it explains none of them.
  bool IsAfterKexec() const;
  // Its one bank is filled with SHA-1 digests, padded with zeros.
  bool IsPadded() const;
  // A name with a newline in it, one, breaks the ASCII list.
  bool HasNewlineName() const;
  // A quote lies beside it, by an AK of its own, that covers the whole list.
  bool IsQuoted() const;

  std::optional<crypto::Digest> Pcr(crypto::HashAlgorithm bank,
                                    uint32_t pcr) const;
};

// All of them, in the order of their names. Fails the test if one can't be
// read or there are fewer than there should be.
const std::vector<RealList>& RealLists();
const RealList& RealListNamed(absl::string_view name);

// The entries of a whole list, which they alias. Fails the test if the list
// does not parse.
std::vector<ima::Entry> ParseWhole(std::span<const uint8_t> list,
                                   const ima::ListOptions& options = {});

// The same list as a big-endian host would have written it: every integer of
// records and fields the other way round. Sizes only; the digests that the
// kernel would have computed over them are left as they are.
std::vector<uint8_t> ToBigEndian(std::span<const uint8_t> list);

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_REAL_LISTS_H_
