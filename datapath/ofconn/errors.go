package ofconn

import (
	"encoding/binary"
	"fmt"
)

// Error is the switch's refusal of a message (ofp_error_msg, OpenFlow 1.5.1 section 7.5.4).
type Error struct {
	Type, Code uint16
}

func parseError(b []byte) *Error {
	if len(b) < 12 {
		return &Error{}
	}
	return &Error{Type: binary.BigEndian.Uint16(b[8:]), Code: binary.BigEndian.Uint16(b[10:])}
}

func (e *Error) Error() string {
	if name, ok := errorNames[*e]; ok {
		return fmt.Sprintf("%s (type %d code %d)", name, e.Type, e.Code)
	}
	return fmt.Sprintf("OpenFlow error type %d code %d", e.Type, e.Code)
}

// errMeterExists is OFPMMFC_METER_EXISTS.
var errMeterExists = Error{Type: 12, Code: 1}

// errorNames are the errors that a flow, group, meter or bundle can meet.
var errorNames = map[Error]string{
	{1, 0}: "OFPBRC_BAD_VERSION", {1, 1}: "OFPBRC_BAD_TYPE", {1, 2}: "OFPBRC_BAD_MULTIPART", {1, 3}: "OFPBRC_BAD_EXPERIMENTER",
	{1, 4}: "OFPBRC_BAD_EXP_TYPE", {1, 5}: "OFPBRC_EPERM", {1, 6}: "OFPBRC_BAD_LEN", {1, 9}: "OFPBRC_BAD_TABLE_ID", {1, 11}: "OFPBRC_BAD_PORT",
	{2, 0}: "OFPBAC_BAD_TYPE", {2, 1}: "OFPBAC_BAD_LEN", {2, 2}: "OFPBAC_BAD_EXPERIMENTER", {2, 3}: "OFPBAC_BAD_EXP_TYPE", {2, 4}: "OFPBAC_BAD_OUT_PORT",
	{2, 5}: "OFPBAC_BAD_ARGUMENT", {2, 6}: "OFPBAC_EPERM", {2, 7}: "OFPBAC_TOO_MANY", {2, 9}: "OFPBAC_BAD_OUT_GROUP", {2, 10}: "OFPBAC_MATCH_INCONSISTENT",
	{2, 13}: "OFPBAC_BAD_SET_TYPE", {2, 14}: "OFPBAC_BAD_SET_LEN", {2, 15}: "OFPBAC_BAD_SET_ARGUMENT", {2, 16}: "OFPBAC_BAD_SET_MASK", {2, 17}: "OFPBAC_BAD_METER",
	{3, 0}: "OFPBIC_UNKNOWN_INST", {3, 1}: "OFPBIC_UNSUP_INST", {3, 2}: "OFPBIC_BAD_TABLE_ID", {3, 7}: "OFPBIC_BAD_LEN",
	{4, 0}: "OFPBMC_BAD_TYPE", {4, 1}: "OFPBMC_BAD_LEN", {4, 6}: "OFPBMC_BAD_FIELD", {4, 7}: "OFPBMC_BAD_VALUE", {4, 8}: "OFPBMC_BAD_MASK",
	{4, 9}: "OFPBMC_BAD_PREREQ", {4, 10}: "OFPBMC_DUP_FIELD", {4, 11}: "OFPBMC_EPERM",
	{5, 0}: "OFPFMFC_UNKNOWN", {5, 1}: "OFPFMFC_TABLE_FULL", {5, 2}: "OFPFMFC_BAD_TABLE_ID", {5, 3}: "OFPFMFC_OVERLAP", {5, 5}: "OFPFMFC_BAD_TIMEOUT",
	{5, 6}: "OFPFMFC_BAD_COMMAND", {5, 7}: "OFPFMFC_BAD_FLAGS",
	{6, 0}: "OFPGMFC_GROUP_EXISTS", {6, 1}: "OFPGMFC_INVALID_GROUP", {6, 3}: "OFPGMFC_OUT_OF_GROUPS", {6, 4}: "OFPGMFC_OUT_OF_BUCKETS", {6, 7}: "OFPGMFC_LOOP",
	{6, 8}: "OFPGMFC_UNKNOWN_GROUP", {6, 9}: "OFPGMFC_CHAINED_GROUP", {6, 10}: "OFPGMFC_BAD_TYPE", {6, 11}: "OFPGMFC_BAD_COMMAND", {6, 12}: "OFPGMFC_BAD_BUCKET",
	{6, 13}: "OFPGMFC_BAD_WATCH", {6, 15}: "OFPGMFC_UNKNOWN_BUCKET", {6, 16}: "OFPGMFC_BUCKET_EXISTS",
	{12, 0}: "OFPMMFC_UNKNOWN", {12, 1}: "OFPMMFC_METER_EXISTS", {12, 2}: "OFPMMFC_INVALID_METER", {12, 3}: "OFPMMFC_UNKNOWN_METER", {12, 11}: "OFPMMFC_OUT_OF_METERS",
	{17, 0}: "OFPBFC_UNKNOWN", {17, 1}: "OFPBFC_EPERM", {17, 2}: "OFPBFC_BAD_ID", {17, 3}: "OFPBFC_BUNDLE_EXIST", {17, 5}: "OFPBFC_OUT_OF_BUNDLES",
	{17, 6}: "OFPBFC_BAD_TYPE", {17, 7}: "OFPBFC_BAD_FLAGS", {17, 8}: "OFPBFC_MSG_BAD_LEN", {17, 9}: "OFPBFC_MSG_BAD_XID", {17, 10}: "OFPBFC_MSG_UNSUP",
	{17, 11}: "OFPBFC_MSG_CONFLICT", {17, 12}: "OFPBFC_MSG_TOO_MANY", {17, 13}: "OFPBFC_MSG_FAILED", {17, 14}: "OFPBFC_TIMEOUT",
	{0xffff, 16}: "NXTTMFC_BAD_COMMAND", {0xffff, 17}: "NXTTMFC_BAD_OPT_LEN", {0xffff, 18}: "NXTTMFC_BAD_FIELD_IDX", {0xffff, 19}: "NXTTMFC_TABLE_FULL",
	{0xffff, 20}: "NXTTMFC_ALREADY_MAPPED", {0xffff, 21}: "NXTTMFC_DUP_ENTRY", {0xffff, 38}: "NXTTMFC_INVALID_TLV_DEL",
}
