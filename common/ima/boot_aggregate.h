// boot_aggregate: the first entry of a list, a digest over the PCRs that the
// firmware and boot loader have extended.
//
// Source: Linux security/integrity/ima/ima_crypto.c, ima_calc_boot_aggregate(),
// kernel 5.8 and later.
#ifndef CUPEL_COMMON_IMA_BOOT_AGGREGATE_H_
#define CUPEL_COMMON_IMA_BOOT_AGGREGATE_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/digest.h"
#include "common/crypto/pcr.h"

namespace cupel::ima {

using crypto::PcrLookup;

// What the boot_aggregate with a digest of `algorithm` must be: the hash, by
// that algorithm, of PCR 0 to 7 of its bank for SHA-1, and of PCR 0 to 9 for
// every other one.
//
// An entry whose digest is all zeros was made without a TPM, or without a bank
// that the kernel could use: it has no value to compute, and never equals one.
//
// Errors: kNotFound if `lookup` lacks one of the PCRs, naming it;
// kUnimplemented if `algorithm` is none that crypto::CanHash; kInvalidArgument
// if a value is of another bank than was asked for. None of them says that the
// entry is wrong.
absl::StatusOr<crypto::Digest> ComputeBootAggregate(
    crypto::HashAlgorithm algorithm, PcrLookup lookup);

// True for the paths "boot_aggregate", and "boot_aggregate_late" which IMA
// adds where the TPM came up after it.
bool IsBootAggregatePath(absl::string_view path);

}  // namespace cupel::ima

#endif  // CUPEL_COMMON_IMA_BOOT_AGGREGATE_H_
