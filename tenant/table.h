#ifndef CUPEL_TENANT_TABLE_H_
#define CUPEL_TENANT_TABLE_H_

#include <string>
#include <vector>

namespace cupel::tenant {

// Rows as lines of text, the columns below one another, two blanks between
// them. The first row is the heading. Cells are escaped already; a row may be
// short of cells.
std::string FormatTable(const std::vector<std::vector<std::string>>& rows);

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_TABLE_H_
