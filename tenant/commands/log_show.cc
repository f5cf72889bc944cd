#include <unistd.h>

#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "CLI/App.hpp"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/ima/ascii_format.h"
#include "common/ima/list_parser.h"
#include "common/ima/template.h"
#include "common/util/escape.h"
#include "common/util/hex.h"
#include "nlohmann/json.hpp"
#include "tenant/commands/commands.h"
#include "tenant/console.h"
#include "tenant/help_formatter.h"
#include "tenant/inputs.h"

namespace cupel::tenant {
namespace {

using Json = nlohmann::ordered_json;

struct ShowFlags {
  std::string file;
  ListFlags list;
  bool json = false;
  std::optional<uint32_t> pcr;
  std::optional<uint64_t> tail;
};

std::string AsLine(const ima::Entry& entry, ByteOrder order) {
  const auto line = ima::FormatAsciiEntry(entry, order);
  if (line.ok()) return EscapeForDisplay(*line);
  // No fields to show: say so, and show what there is.
  return absl::StrCat(entry.pcr, " ", HexEncode(entry.template_digest), " ",
                      EscapeForDisplay(entry.template_name), " ",
                      HexEncode(entry.template_data), " (",
                      EscapeForDisplay(line.status().message()), ")");
}

void AddFields(const ima::EntryFields& fields, Json& json) {
  if (fields.digest.has_value()) {
    json["digest"] = absl::StrCat(EscapeForJson(fields.digest->algorithm_name),
                                  ":", HexEncode(fields.digest->bytes));
    if (fields.digest->type == ima::DigestType::kVerity) {
      json["digest_type"] = "verity";
    }
  }
  json["path"] = EscapeForJson(fields.path);
  const auto add_hex = [&](const char* name, std::span<const uint8_t> bytes) {
    if (!bytes.empty()) json[name] = HexEncode(bytes);
  };
  add_hex("signature", fields.signature);
  if (fields.buffer.has_value()) add_hex("buffer", *fields.buffer);
  add_hex("modsig", fields.modsig);
  if (fields.modsig_digest.has_value()) {
    json["modsig_digest"] =
        absl::StrCat(EscapeForJson(fields.modsig_digest->algorithm_name), ":",
                     HexEncode(fields.modsig_digest->bytes));
  }
  add_hex("evm_signature", fields.evm_signature);
  if (!fields.xattr_names.empty()) {
    json["xattr_names"] = EscapeForJson(fields.xattr_names);
  }
  add_hex("xattr_lengths", fields.xattr_lengths);
  add_hex("xattr_values", fields.xattr_values);
  if (fields.inode_uid.has_value()) json["uid"] = *fields.inode_uid;
  if (fields.inode_gid.has_value()) json["gid"] = *fields.inode_gid;
  if (fields.inode_mode.has_value()) json["mode"] = *fields.inode_mode;
}

std::string AsJson(const ima::Entry& entry, ByteOrder order) {
  Json json;
  json["index"] = entry.index;
  json["pcr"] = entry.pcr;
  json["template_digest"] = HexEncode(entry.template_digest);
  json["template"] = EscapeForJson(entry.template_name);
  if (entry.IsViolation()) json["violation"] = true;
  if (const auto fields = ima::ParseFields(entry, order); fields.ok()) {
    AddFields(*fields, json);
  } else {
    json["template_data"] = HexEncode(entry.template_data);
    json["error"] = EscapeForJson(fields.status().message());
  }
  return DumpJson(json);
}

// Where an entry begins in the list.
struct Position {
  uint64_t index = 0;
  uint64_t offset = 0;
};

// Hands the entries that are to be shown to `show`, from `start` on; the status
// is about the list's form.
absl::Status ForEachShown(const ShowFlags& flags, std::span<const uint8_t> list,
                          const Position& start,
                          absl::FunctionRef<void(const ima::Entry&)> show) {
  ima::ListOptions options = flags.list.ToOptions();
  options.first_index = start.index;
  options.first_offset = start.offset;
  // Entries that scroll by on a terminal are progress enough.
  std::optional<ProgressMeter> meter;
  if (flags.tail.has_value() || isatty(STDOUT_FILENO) != 1) {
    meter.emplace("entries read");
  }
  ima::ListParser parser(options);
  absl::Status status =
      parser.Feed(list.subspan(static_cast<size_t>(start.offset)),
                  [&](std::span<const ima::Entry> entries) {
                    if (meter.has_value()) meter->Update(entries.front().index);
                    for (const ima::Entry& entry : entries) {
                      if (!flags.pcr.has_value() || entry.pcr == *flags.pcr)
                        show(entry);
                    }
                    return absl::OkStatus();
                  });
  if (status.ok()) status = parser.Finish();
  return InBinaryList(status, flags.file, parser.entry_count());
}

// Prints the entries before what is wrong with the list, if anything is.
absl::Status PrintEntries(const ShowFlags& flags,
                          std::span<const uint8_t> list) {
  Position start;
  if (flags.tail.has_value()) {
    // The last ones are known at the end only: found first, then printed.
    std::deque<Position> last;
    const absl::Status status =
        ForEachShown(flags, list, start, [&](const ima::Entry& entry) {
          last.push_back({entry.index, entry.offset});
          if (last.size() > *flags.tail) last.pop_front();
        });
    if (last.empty()) return status;
    start = last.front();
  }
  const ByteOrder order = flags.list.ToOptions().byte_order;
  return ForEachShown(flags, list, start, [&](const ima::Entry& entry) {
    PrintLine(flags.json ? AsJson(entry, order) : AsLine(entry, order));
  });
}

ExitCode Show(const ShowFlags& flags) {
  const auto list = LoadList(flags.file, flags.list);
  if (!list.ok()) return Fail(list.status());
  if (list->empty()) {
    PrintError(absl::StrCat(InputName(flags.file), ": an empty list"));
  }
  const absl::Status status = PrintEntries(flags, *list);
  return status.ok() ? ExitCode::kOk : Fail(status);
}

}  // namespace

void RegisterLogShow(CLI::App& parent, ExitCode& exit_code) {
  const auto flags = std::make_shared<ShowFlags>();
  CLI::App* command = parent.add_subcommand(
      "show",
      "Print a list's entries, one a line, as the kernel's text form shows "
      "them. Whatever could steer a terminal is escaped.");
  command
      ->add_option("list", flags->file,
                   "The list, binary or ASCII; - for standard input")
      ->required()
      ->type_name("FILE");
  flags->list.Register(*command);
  command->add_flag("--json", flags->json, "One JSON object a line");
  command->add_option("--pcr", flags->pcr, "Entries on this PCR only")
      ->check(CLI::Range(0U, ima::kPcrCount - 1, "0-23"))
      ->type_name("N");
  command->add_option("--tail", flags->tail, "The last N entries only")
      ->check(CLI::Range(int64_t{0}, std::numeric_limits<int64_t>::max(), "0-"))
      ->type_name("N");
  AddExamples(*command, {"cupel-tenant log show "
                         "/sys/kernel/security/ima/ascii_runtime_measurements",
                         "cupel-tenant log show list --json --tail 5"});
  command->callback([flags, &exit_code] { exit_code = Show(*flags); });
}

}  // namespace cupel::tenant
