#include "common/ima/boot_aggregate.h"

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/ima/ascii_list.h"
#include "common/ima/template.h"
#include "common/util/bytes.h"
#include "common/util/status_macros.h"

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

absl::StatusOr<Digest> ParseBootAggregateLine(absl::string_view line) {
  ListOptions options;
  options.template_digest_size = AsciiTemplateDigestSize(line).value_or(20);
  CUPEL_ASSIGN_OR_RETURN(const AsciiList list, AsciiList::Parse(line, options));
  if (list.entries().size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("boot_aggregate: ", list.entries().size(),
                     " entries, expected one line with one"));
  }
  CUPEL_ASSIGN_OR_RETURN(const EntryFields fields,
                         ParseFields(list.entries().front()));
  if (!IsBootAggregatePath(fields.path)) {
    return absl::InvalidArgumentError(
        "boot_aggregate: the line is about another path");
  }
  if (!fields.digest || !fields.digest->algorithm) {
    return absl::InvalidArgumentError(
        "boot_aggregate: no digest of a known algorithm");
  }
  return Digest::Create(*fields.digest->algorithm, fields.digest->bytes);
}

}  // namespace cupel::ima
