// One connection to a database: statements, rows, transactions. What differs
// between databases is here and in migrations.cc, and nowhere else.
//
// The SQL given to it is written for SQLite and PostgreSQL alike: parameters
// are named, in the order of the values, each once (`:a`, `:b`); no dialect's
// functions; integers are BIGINT (SOCI reads an INTEGER as 32 bits).
#ifndef CUPEL_VERIFIER_STORE_CONNECTION_H_
#define CUPEL_VERIFIER_STORE_CONNECTION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace cupel::verifier {

using SqlBytes = std::vector<uint8_t>;
// NULL, BIGINT, TEXT, BLOB.
using SqlValue = std::variant<std::monostate, int64_t, std::string, SqlBytes>;
using SqlRow = std::vector<SqlValue>;

// Values for statements. The first is for every unsigned number of the domain:
// none of them gets near 2^63, and one that did would read as kDataLoss.
inline SqlValue SqlNumber(uint64_t value) {
  return static_cast<int64_t>(value);
}
inline SqlValue SqlText(absl::string_view text) { return std::string(text); }
SqlValue SqlTime(const std::optional<absl::Time>& time);

// Takes a row's values one after another. A value of another type than asked
// for is kDataLoss, told by status(); from then on zeros are given.
class RowReader {
 public:
  explicit RowReader(const SqlRow& row) : row_(row) {}

  uint64_t Number();
  std::string Text();
  SqlBytes Bytes();
  std::optional<SqlBytes> OptionalBytes();
  absl::Time Time();
  std::optional<absl::Time> OptionalTime();

  const absl::Status& status() const { return status_; }

 private:
  template <typename T>
  std::optional<T> Take(bool may_be_null);

  const SqlRow& row_;
  size_t next_ = 0;
  absl::Status status_;
};

// When a commit is safe from a power cut. A crash of this process loses no
// commit of either kind.
enum class Durability {
  kFull,    // when it returns
  kNormal,  // with the next kFull commit, or at the next checkpoint
};

// Not thread-safe. Errors of every function: kUnavailable (busy, full, I/O),
// kDataLoss (the file is corrupt), kAlreadyExists (a constraint refused it),
// kInternal. A failed statement inside of a transaction leaves the transaction
// open, to be rolled back.
class Connection {
 public:
  struct Options {
    absl::Duration busy_timeout = absl::Seconds(10);
    bool read_only = false;
  };
  // Opens the SQLite database at `path`, which exists, or one in memory
  // (":memory:").
  static absl::StatusOr<std::unique_ptr<Connection>> OpenSqlite(
      const std::string& path, const Options& options);

  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // The number of rows that were changed.
  absl::StatusOr<uint64_t> Execute(const std::string& sql,
                                   std::vector<SqlValue> values = {});
  // All rows. `columns` has a letter for each: i (BIGINT), t (TEXT), b (BLOB).
  absl::StatusOr<std::vector<SqlRow>> Query(const std::string& sql,
                                            absl::string_view columns,
                                            std::vector<SqlValue> values = {});
  // The one value of the one row that there may be.
  absl::StatusOr<std::optional<SqlValue>> QueryOne(
      const std::string& sql, char column, std::vector<SqlValue> values = {});
  // The one number of the one row that there has to be: a count, or a sum.
  absl::StatusOr<uint64_t> QueryNumber(const std::string& sql,
                                       std::vector<SqlValue> values);

  // Begin keeps other writers out from now on.
  absl::Status Begin(Durability durability);
  absl::Status Commit();
  void Rollback();

 private:
  class Statement;
  struct Session;

  explicit Connection(std::unique_ptr<Session> session);

  absl::StatusOr<Statement*> Prepare(const std::string& sql,
                                     absl::string_view columns,
                                     std::vector<SqlValue>& values);
  absl::Status ErrorFrom(const std::exception& error) const;

  std::unique_ptr<Session> session_;
  // By SQL and types. What this project says is a small, fixed set, so nothing
  // is ever thrown out.
  std::unordered_map<std::string, std::unique_ptr<Statement>> statements_;
  Durability durability_ = Durability::kFull;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_STORE_CONNECTION_H_
