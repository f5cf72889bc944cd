#include "common/ima/boot_aggregate.h"

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/util/bytes.h"

namespace cupel::ima {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;

}  // namespace

absl::StatusOr<Digest> ComputeBootAggregate(HashAlgorithm algorithm,
                                            PcrLookup lookup) {
  if (!crypto::CanHash(algorithm)) {
    return absl::UnimplementedError(
        absl::StrCat("boot_aggregate: no implementation of ",
                     crypto::HashAlgorithmName(algorithm)));
  }
  const uint32_t last = algorithm == HashAlgorithm::kSha1 ? 7 : 9;
  std::vector<uint8_t> values;
  for (uint32_t pcr = 0; pcr <= last; ++pcr) {
    const std::optional<Digest> value = lookup(algorithm, pcr);
    if (!value) {
      return absl::NotFoundError(absl::StrCat(
          "boot_aggregate: PCR ", pcr, " of the ",
          crypto::HashAlgorithmName(algorithm), " bank is missing"));
    }
    if (value->algorithm() != algorithm) {
      return absl::InvalidArgumentError(
          absl::StrCat("boot_aggregate: PCR ", pcr, " is of the ",
                       crypto::HashAlgorithmName(value->algorithm()),
                       " bank, not ", crypto::HashAlgorithmName(algorithm)));
    }
    Append(values, value->bytes());
  }
  return crypto::Hash(algorithm, values);
}

bool IsBootAggregatePath(absl::string_view path) {
  return path == "boot_aggregate" || path == "boot_aggregate_late";
}

}  // namespace cupel::ima
