// Reference values made from a machine's own measurement list: what ran on a
// machine that is known to be good becomes what may run.
#ifndef CUPEL_COMMON_APPRAISAL_REFERENCE_VALUES_H_
#define CUPEL_COMMON_APPRAISAL_REFERENCE_VALUES_H_

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "common/ima/list_parser.h"
#include "common/policy/runtime_policy.h"

namespace cupel::appraisal {

struct ListPolicyOptions {
  // How warnings call the list.
  std::string origin = "list";
  // Lists boot_aggregate as well. Appraisal computes it wherever PCR 0 to 9 are
  // known, and a policy that lists it fits machines of one boot alone.
  bool include_boot_aggregate = false;
  // Lists measured buffers by their names as well: keys, kernel command lines,
  // critical data.
  bool include_buffers = false;
};

// Makes a policy that has digests, buffers and warnings only: every file of
// `list` (in its binary form) with each digest that it was measured with, paths
// in the order in which they first occur.
//
// Trust: the list is believed. Whether PCRs or a quote vouch for it, and
// whether the machine was good, is for the caller to know.
//
// What proves no file's content is left out, each time with a warning at
// "`origin`: entry N":
//
//   list.violation        an open-writers or ToMToU violation
//   list.template_digest  the record's digest is not that of its data
//   list.template         an unknown template, or fields that do not fit it
//   list.buffer           a buffer, unless buffers are wanted; then one whose
//                         digest is not that of its bytes
//   list.digest           no digest, of an unknown algorithm, or of fs-verity
//   list.digest_weak      MD4, MD5 or RIPEMD-160
//   list.digest_zero      the kernel could not hash the file, or had no TPM
//                         (boot_aggregate)
//   list.path             no path, or one that no policy can list
//
// Other warning codes: list.empty, no file is left; digest.sha1.
//
// Errors: those of ListParser, for a list that is malformed or passes a limit.
absl::StatusOr<policy::RuntimePolicy> MakePolicyFromList(
    std::span<const uint8_t> list, const ima::ListOptions& list_options,
    const ListPolicyOptions& options);

}  // namespace cupel::appraisal

#endif  // CUPEL_COMMON_APPRAISAL_REFERENCE_VALUES_H_
