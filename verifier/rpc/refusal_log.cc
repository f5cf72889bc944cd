#include "verifier/rpc/refusal_log.h"

#include <utility>

namespace cupel::verifier {
namespace {

constexpr char kOthers[] = "others";

}  // namespace

void RefusalLog::Write(LogLevel level, absl::string_view what,
                       absl::string_view address, std::vector<LogField> fields,
                       absl::Time now) {
  uint64_t unlogged = 0;
  bool is_due = false;
  {
    const std::lock_guard lock(mutex_);
    if (addresses_.size() >= bounds_.max_addresses &&
        !addresses_.contains(address)) {
      uint64_t forgotten = 0;
      absl::erase_if(addresses_, [&](const auto& one) {
        if (one.second.next > now) return false;
        forgotten += one.second.unlogged;
        return true;
      });
      if (forgotten > 0) addresses_[kOthers].unlogged += forgotten;
    }
    const bool fits = addresses_.size() < bounds_.max_addresses ||
                      addresses_.contains(address);
    Address& seen = addresses_[fits ? address : absl::string_view(kOthers)];
    is_due = now >= seen.next;
    if (is_due) {
      seen.next = now + bounds_.interval;
      unlogged = std::exchange(seen.unlogged, 0);
    } else {
      ++seen.unlogged;
    }
  }
  fields.emplace_back("address", address);
  if (unlogged > 0) fields.emplace_back("unlogged", unlogged);
  log_.Log(is_due ? level : LogLevel::kDebug, what, fields);
}

}  // namespace cupel::verifier
