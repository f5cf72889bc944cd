#include "verifier/store/connection.h"

#include <deque>
#include <exception>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"
#include "soci/soci.h"
#include "soci/sqlite3/soci-sqlite3.h"
#include "verifier/store/codec.h"

namespace cupel::verifier {
namespace {

absl::Status StatusFromSqlite(int code, absl::string_view message) {
  const std::string text = absl::StrCat("store: ", EscapeForDisplay(message));
  switch (code & 0xff) {  // the low byte is the primary result code
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
      return absl::DataLossError(
          absl::StrCat(text, "; restore the database's file from a backup"));
    case SQLITE_CONSTRAINT:
      return absl::AlreadyExistsError(text);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_NOMEM:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_INTERRUPT:
    case SQLITE_PROTOCOL:
      return absl::UnavailableError(text);
    default:
      return absl::InternalError(text);
  }
}

}  // namespace

SqlValue SqlTime(const std::optional<absl::Time>& time) {
  if (!time.has_value()) return std::monostate();
  return TimeToSql(*time);
}

template <typename T>
std::optional<T> RowReader::Take(bool may_be_null) {
  if (!status_.ok()) return std::nullopt;
  if (next_ < row_.size()) {
    const SqlValue& value = row_[next_++];
    if (const T* const typed = std::get_if<T>(&value)) return *typed;
    if (may_be_null && std::holds_alternative<std::monostate>(value)) {
      return std::nullopt;
    }
  }
  status_ = absl::DataLossError(
      absl::StrCat("store: column ", next_, " has no value of its type"));
  return std::nullopt;
}

uint64_t RowReader::Number() {
  const int64_t value = Take<int64_t>(false).value_or(0);
  if (value < 0) {
    status_ = absl::DataLossError(
        absl::StrCat("store: column ", next_, " is negative"));
    return 0;
  }
  return static_cast<uint64_t>(value);
}

std::string RowReader::Text() {
  return Take<std::string>(false).value_or(std::string());
}

SqlBytes RowReader::Bytes() {
  return Take<SqlBytes>(false).value_or(SqlBytes());
}

std::optional<SqlBytes> RowReader::OptionalBytes() {
  return Take<SqlBytes>(true);
}

absl::Time RowReader::Time() {
  return TimeFromSql(Take<int64_t>(false).value_or(0));
}

std::optional<absl::Time> RowReader::OptionalTime() {
  const std::optional<int64_t> value = Take<int64_t>(true);
  if (!value.has_value()) return std::nullopt;
  return TimeFromSql(*value);
}

struct Connection::Session {
  explicit Session(const std::string& parameters)
      : sql(soci::sqlite3, parameters) {}

  // Debian's SOCI keeps the type information of this class to itself, which a
  // check of the cast would need.
  __attribute__((no_sanitize("vptr"))) sqlite_api::sqlite3* sqlite() {
    return static_cast<soci::sqlite3_session_backend*>(sql.get_backend())
        ->conn_;
  }

  soci::session sql;
};

// A prepared statement with the variables that SOCI binds to it.
class Connection::Statement {
 public:
  Statement(soci::session& session, const std::string& sql,
            absl::string_view parameters, absl::string_view columns)
      : statement_(session) {
    for (const char type : parameters) {
      Cell& cell = parameters_.emplace_back(session, type);
      switch (type) {
        case 'i':
          statement_.exchange(soci::use(cell.number, cell.indicator));
          break;
        case 'b':
          statement_.exchange(soci::use(cell.bytes, cell.indicator));
          break;
        default:
          statement_.exchange(soci::use(cell.text, cell.indicator));
      }
    }
    for (const char type : columns) {
      Cell& cell = columns_.emplace_back(session, type);
      switch (type) {
        case 'i':
          statement_.exchange(soci::into(cell.number, cell.indicator));
          break;
        case 'b':
          statement_.exchange(soci::into(cell.bytes, cell.indicator));
          break;
        default:
          statement_.exchange(soci::into(cell.text, cell.indicator));
      }
    }
    statement_.alloc();
    statement_.prepare(sql);
    statement_.define_and_bind();
  }

  void Set(std::vector<SqlValue>& values) {
    for (size_t i = 0; i < values.size(); ++i) parameters_[i].Set(values[i]);
  }

  uint64_t Execute() {
    statement_.execute(/*withDataExchange=*/true);
    const long long rows = statement_.get_affected_rows();
    return rows < 0 ? 0 : static_cast<uint64_t>(rows);
  }

  std::vector<SqlRow> Query() {
    std::vector<SqlRow> rows;
    statement_.execute(/*withDataExchange=*/false);
    // To the end in any case: a statement that has rows left keeps its
    // snapshot.
    while (statement_.fetch()) {
      SqlRow& row = rows.emplace_back();
      row.reserve(columns_.size());
      for (Cell& cell : columns_) row.push_back(cell.Get());
    }
    return rows;
  }

 private:
  struct Cell {
    Cell(soci::session& session, char cell_type)
        : type(cell_type), bytes(session) {}

    void Set(SqlValue& value) {
      indicator = soci::i_ok;
      if (auto* const n = std::get_if<int64_t>(&value)) {
        number = *n;
      } else if (auto* const t = std::get_if<std::string>(&value)) {
        text = std::move(*t);
      } else if (auto* const b = std::get_if<SqlBytes>(&value)) {
        bytes.trim(0);
        bytes.append(reinterpret_cast<const char*>(b->data()), b->size());
      } else {
        indicator = soci::i_null;
      }
    }

    SqlValue Get() {
      if (indicator == soci::i_null) return std::monostate();
      if (type == 'i') return static_cast<int64_t>(number);
      if (type == 't') return text;
      SqlBytes copy(bytes.get_len());
      if (!copy.empty()) {
        bytes.read(0, reinterpret_cast<char*>(copy.data()), copy.size());
      }
      return copy;
    }

    char type;
    soci::indicator indicator = soci::i_ok;
    long long number = 0;
    std::string text;
    soci::blob bytes;
  };

  // Before the statement, which points into them.
  std::deque<Cell> parameters_;
  std::deque<Cell> columns_;
  soci::statement statement_;
};

Connection::Connection(std::unique_ptr<Session> session)
    : session_(std::move(session)) {}

Connection::~Connection() = default;

absl::StatusOr<std::unique_ptr<Connection>> Connection::OpenSqlite(
    const std::string& path, const Options& options) {
  if (path.empty() || absl::StrContains(path, '"') ||
      absl::StrContains(path, '\0')) {
    return absl::InvalidArgumentError(absl::StrCat(
        "store: ", Quoted(path),
        " is no path of a database: empty, or with a quote in it"));
  }
  std::unique_ptr<Session> session;
  try {
    session = std::make_unique<Session>(absl::StrCat("dbname=\"", path, "\""));
  } catch (const std::exception& error) {
    return absl::UnavailableError(absl::StrCat("store: ", Quoted(path), ": ",
                                               EscapeForDisplay(error.what())));
  }
  std::unique_ptr<Connection> connection(new Connection(std::move(session)));
  sqlite_api::sqlite3_busy_timeout(
      connection->session_->sqlite(),
      static_cast<int>(absl::ToInt64Milliseconds(options.busy_timeout)));
  for (const char* const pragma :
       {"PRAGMA foreign_keys = ON", "PRAGMA trusted_schema = OFF",
        "PRAGMA cell_size_check = ON", "PRAGMA synchronous = FULL"}) {
    CUPEL_RETURN_IF_ERROR(connection->Execute(pragma).status());
  }
  CUPEL_ASSIGN_OR_RETURN(
      const auto mode, connection->QueryOne("PRAGMA journal_mode = WAL", 't'));
  const SqlValue wanted = SqlText(path == ":memory:" ? "memory" : "wal");
  if (mode != wanted) {
    return absl::UnavailableError(
        absl::StrCat("store: ", Quoted(path),
                     ": no write-ahead log here; use a local file system"));
  }
  if (options.read_only) {
    CUPEL_RETURN_IF_ERROR(
        connection->Execute("PRAGMA query_only = ON").status());
  }
  return connection;
}

absl::Status Connection::ErrorFrom(const std::exception& error) const {
  if (const auto* const sqlite =
          dynamic_cast<const soci::sqlite3_soci_error*>(&error)) {
    return StatusFromSqlite(sqlite->result(), error.what());
  }
  // Some of SOCI's errors come without the code; the connection remembers it.
  if (dynamic_cast<const soci::soci_error*>(&error) != nullptr) {
    return StatusFromSqlite(sqlite_api::sqlite3_errcode(session_->sqlite()),
                            error.what());
  }
  return absl::UnavailableError(
      absl::StrCat("store: ", EscapeForDisplay(error.what())));
}

absl::StatusOr<Connection::Statement*> Connection::Prepare(
    const std::string& sql, absl::string_view columns,
    std::vector<SqlValue>& values) {
  std::string types;
  for (const SqlValue& value : values) {
    types.push_back(std::holds_alternative<int64_t>(value)    ? 'i'
                    : std::holds_alternative<SqlBytes>(value) ? 'b'
                                                              : 't');
  }
  std::unique_ptr<Statement>& statement =
      statements_[absl::StrCat(types, ">", columns, ">", sql)];
  if (statement == nullptr) {
    statement = std::make_unique<Statement>(session_->sql, sql, types, columns);
  }
  statement->Set(values);
  return statement.get();
}

absl::StatusOr<uint64_t> Connection::Execute(const std::string& sql,
                                             std::vector<SqlValue> values) {
  try {
    CUPEL_ASSIGN_OR_RETURN(Statement* const statement,
                           Prepare(sql, "", values));
    return statement->Execute();
  } catch (const std::exception& error) {
    return ErrorFrom(error);
  }
}

absl::StatusOr<std::vector<SqlRow>> Connection::Query(
    const std::string& sql, absl::string_view columns,
    std::vector<SqlValue> values) {
  try {
    CUPEL_ASSIGN_OR_RETURN(Statement* const statement,
                           Prepare(sql, columns, values));
    return statement->Query();
  } catch (const std::exception& error) {
    return ErrorFrom(error);
  }
}

absl::StatusOr<std::optional<SqlValue>> Connection::QueryOne(
    const std::string& sql, char column, std::vector<SqlValue> values) {
  CUPEL_ASSIGN_OR_RETURN(
      auto rows, Query(sql, absl::string_view(&column, 1), std::move(values)));
  if (rows.empty()) return std::nullopt;
  return std::move(rows.front().front());
}

absl::StatusOr<uint64_t> Connection::QueryNumber(const std::string& sql,
                                                 std::vector<SqlValue> values) {
  CUPEL_ASSIGN_OR_RETURN(const auto rows, Query(sql, "i", std::move(values)));
  if (rows.size() != 1) return absl::InternalError("store: no count");
  RowReader in(rows.front());
  const uint64_t number = in.Number();
  CUPEL_RETURN_IF_ERROR(in.status());
  return number;
}

absl::Status Connection::Begin(Durability durability) {
  if (durability != durability_) {
    CUPEL_RETURN_IF_ERROR(Execute(durability == Durability::kFull
                                      ? "PRAGMA synchronous = FULL"
                                      : "PRAGMA synchronous = NORMAL")
                              .status());
    durability_ = durability;
  }
  return Execute("BEGIN IMMEDIATE").status();
}

absl::Status Connection::Commit() { return Execute("COMMIT").status(); }

void Connection::Rollback() {
  // SQLite may have rolled back by itself; then this fails, rightly.
  Execute("ROLLBACK").status().IgnoreError();
}

}  // namespace cupel::verifier
