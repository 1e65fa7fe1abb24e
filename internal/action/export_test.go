package action

// For the tables and fuzz targets.
var (
	FormatOutput = formatOutput
	CutLines     = cutLines
)
