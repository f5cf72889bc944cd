#include "verifier/store/ek_list.h"

#include <utility>

#include "common/util/status_macros.h"

namespace cupel::verifier {

absl::Status InsertAllowedEks(Connection& db, absl::string_view tenant,
                              std::span<const std::string> ek_sha256,
                              absl::string_view who, absl::Time time) {
  for (const std::string& ek : ek_sha256) {
    CUPEL_RETURN_IF_ERROR(
        db.Execute("INSERT INTO allowed_eks (tenant, ek_sha256, who, time)"
                   " VALUES (:tenant, :ek, :who, :time)"
                   " ON CONFLICT (tenant, ek_sha256) DO NOTHING",
                   {SqlText(tenant), SqlText(ek), SqlText(who), SqlTime(time)})
            .status());
  }
  return absl::OkStatus();
}

absl::Status DeleteAllowedEks(Connection& db, absl::string_view tenant,
                              std::span<const std::string> ek_sha256) {
  for (const std::string& ek : ek_sha256) {
    CUPEL_RETURN_IF_ERROR(db.Execute("DELETE FROM allowed_eks WHERE"
                                     " tenant = :tenant AND ek_sha256 = :ek",
                                     {SqlText(tenant), SqlText(ek)})
                              .status());
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> CountAllowedEks(Connection& db,
                                         absl::string_view tenant) {
  return db.QueryNumber(
      "SELECT COUNT(*) FROM allowed_eks WHERE tenant = :tenant",
      {SqlText(tenant)});
}

absl::StatusOr<bool> IsAllowedEk(Connection& db, absl::string_view tenant,
                                 absl::string_view ek_sha256) {
  CUPEL_ASSIGN_OR_RETURN(
      const auto found,
      db.QueryOne("SELECT time FROM allowed_eks WHERE tenant = :tenant"
                  " AND ek_sha256 = :ek",
                  'i', {SqlText(tenant), SqlText(ek_sha256)}));
  return found.has_value();
}

absl::StatusOr<std::vector<AllowedEk>> QueryAllowedEks(Connection& db,
                                                       absl::string_view tenant,
                                                       absl::string_view after,
                                                       uint32_t limit) {
  CUPEL_ASSIGN_OR_RETURN(
      const auto rows,
      db.Query("SELECT ek_sha256, who, time FROM allowed_eks"
               " WHERE tenant = :tenant AND ek_sha256 > :after"
               " ORDER BY ek_sha256 LIMIT :count",
               "tti", {SqlText(tenant), SqlText(after), SqlNumber(limit)}));
  std::vector<AllowedEk> eks;
  eks.reserve(rows.size());
  for (const SqlRow& row : rows) {
    RowReader in(row);
    AllowedEk ek;
    ek.ek_sha256 = in.Text();
    ek.who = in.Text();
    ek.time = in.Time();
    CUPEL_RETURN_IF_ERROR(in.status());
    eks.push_back(std::move(ek));
  }
  return eks;
}

}  // namespace cupel::verifier
