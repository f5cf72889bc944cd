#include "common/appraisal/reference_values.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/digest.h"
#include "common/ima/boot_aggregate.h"
#include "common/ima/entry.h"
#include "common/ima/hashed_data.h"
#include "common/ima/template.h"
#include "common/policy/digest_table.h"
#include "common/policy/digest_text.h"
#include "common/policy/warning_collector.h"
#include "common/util/bytes.h"
#include "common/util/status_macros.h"

namespace cupel::appraisal {
namespace {

using ::cupel::crypto::HashAlgorithm;
using ::cupel::ima::Entry;
using ::cupel::ima::EntryFields;
using ::cupel::ima::FileDigest;

// Works off one list.
class PolicyMaker {
 public:
  PolicyMaker(ByteOrder byte_order, const ListPolicyOptions& options)
      : byte_order_(byte_order), options_(options), name_(options.origin) {}

  absl::Status Add(const Entry& entry);
  policy::RuntimePolicy Make() &&;

 private:
  void AddBuffer(const Entry& entry, const EntryFields& fields);
  absl::Status AddFile(const Entry& entry, const EntryFields& fields);
  void LeaveOut(const Entry& entry, absl::string_view code,
                absl::string_view reason);

  ByteOrder byte_order_;
  const ListPolicyOptions& options_;
  std::string name_;
  policy::DigestTable::Builder digests_;
  std::map<std::string, std::vector<crypto::Digest>, std::less<>> buffers_;
  policy::WarningCollector warnings_;
};

void PolicyMaker::LeaveOut(const Entry& entry, absl::string_view code,
                           absl::string_view reason) {
  if (!warnings_.Wants(code)) {
    warnings_.Add(code, "", "");
    return;
  }
  const auto fields = ima::ParseFields(entry, byte_order_);
  const std::string path =
      fields.ok() ? absl::StrCat("\"", fields->path, "\"") : "an entry";
  warnings_.Add(code, absl::StrCat(name_, ": entry ", entry.index),
                absl::StrCat(path, " is left out: ", reason));
}

absl::Status PolicyMaker::Add(const Entry& entry) {
  if (entry.IsViolation()) {
    LeaveOut(entry, "list.violation",
             "it was written while it was measured or in use");
    return absl::OkStatus();
  }
  if (!ima::HasOwnTemplateDigest(entry)) {
    LeaveOut(entry, "list.template_digest",
             "the record's digest is not that of its data");
    return absl::OkStatus();
  }
  const auto fields = ima::ParseFields(entry, byte_order_);
  if (!fields.ok()) {
    LeaveOut(entry, "list.template", fields.status().message());
    return absl::OkStatus();
  }
  if (fields->buffer.has_value() && !fields->buffer->empty()) {
    AddBuffer(entry, *fields);
    return absl::OkStatus();
  }
  if (ima::IsBootAggregatePath(fields->path) &&
      !options_.include_boot_aggregate) {
    return absl::OkStatus();
  }
  return AddFile(entry, *fields);
}

void PolicyMaker::AddBuffer(const Entry& entry, const EntryFields& fields) {
  if (!options_.include_buffers) {
    LeaveOut(entry, "list.buffer", "it is no file but a measured buffer");
    return;
  }
  const std::optional<FileDigest>& digest = fields.digest;
  if (!digest.has_value() || digest->type != ima::DigestType::kFile ||
      !digest->algorithm.has_value() || !crypto::CanHash(*digest->algorithm)) {
    LeaveOut(entry, "list.buffer", "it has no digest that can be checked");
    return;
  }
  const crypto::Digest computed =
      crypto::Hash(*digest->algorithm, *fields.buffer);
  if (!std::ranges::equal(computed.bytes(), digest->bytes)) {
    LeaveOut(entry, "list.buffer", "its digest is not that of its bytes");
    return;
  }
  if (const absl::Status weak = policy::CheckMayAllow(computed); !weak.ok()) {
    LeaveOut(entry, "list.digest_weak", weak.message());
    return;
  }
  std::vector<crypto::Digest>& listed = buffers_[std::string(fields.path)];
  if (std::ranges::find(listed, computed) == listed.end()) {
    listed.push_back(computed);
  }
}

absl::Status PolicyMaker::AddFile(const Entry& entry,
                                  const EntryFields& fields) {
  if (!fields.digest.has_value()) {
    LeaveOut(entry, "list.digest", "the entry has no digest");
    return absl::OkStatus();
  }
  const FileDigest& digest = *fields.digest;
  if (digest.type != ima::DigestType::kFile) {
    LeaveOut(entry, "list.digest",
             "its digest is of fs-verity, which no policy can list");
    return absl::OkStatus();
  }
  if (!digest.algorithm.has_value()) {
    LeaveOut(entry, "list.digest",
             absl::StrCat("its digest is of the unknown algorithm \"",
                          digest.algorithm_name, "\""));
    return absl::OkStatus();
  }
  if (IsZero(digest.bytes)) {
    LeaveOut(entry, "list.digest_zero", "its digest is zero");
    return absl::OkStatus();
  }
  // Of its algorithm's size: ParseFields has seen to that.
  CUPEL_ASSIGN_OR_RETURN(
      const auto value,
      crypto::Digest::Create(*digest.algorithm, digest.bytes));
  if (const absl::Status weak = policy::CheckMayAllow(value); !weak.ok()) {
    LeaveOut(entry, "list.digest_weak", weak.message());
    return absl::OkStatus();
  }
  const absl::Status path = digests_.AddPath(fields.path);
  if (absl::IsInvalidArgument(path)) {
    LeaveOut(entry, "list.path", path.message());
    return absl::OkStatus();
  }
  CUPEL_RETURN_IF_ERROR(path);
  return digests_.AddDigest(value.algorithm(), value.bytes());
}

policy::RuntimePolicy PolicyMaker::Make() && {
  policy::RuntimePolicy policy;
  policy.digests = std::move(digests_).Build();
  policy.buffers = std::move(buffers_);
  if (policy.digests.path_count() == 0) {
    warnings_.Add("list.empty", name_, "lists nothing: no file passes");
  }
  size_t sha1_count = 0;
  policy.digests.ForEach(
      [&](absl::string_view, std::span<const crypto::Digest> digests) {
        for (const crypto::Digest& digest : digests) {
          if (digest.algorithm() == HashAlgorithm::kSha1) ++sha1_count;
        }
      });
  if (sha1_count > 0) {
    warnings_.Add("digest.sha1", name_, policy::Sha1Warning(sha1_count));
  }
  policy.warnings = std::move(warnings_).Take(name_);
  return policy;
}

}  // namespace

absl::StatusOr<policy::RuntimePolicy> MakePolicyFromList(
    std::span<const uint8_t> list, const ima::ListOptions& list_options,
    const ListPolicyOptions& options) {
  PolicyMaker maker(list_options.byte_order, options);
  const auto add = [&maker](std::span<const Entry> batch) -> absl::Status {
    for (const Entry& entry : batch) CUPEL_RETURN_IF_ERROR(maker.Add(entry));
    return absl::OkStatus();
  };
  ima::ListParser parser(list_options);
  CUPEL_RETURN_IF_ERROR(parser.Feed(list, add));
  CUPEL_RETURN_IF_ERROR(parser.Finish());
  return std::move(maker).Make();
}

}  // namespace cupel::appraisal
