package metrics

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of TensorBoard's messages, from its event.proto and
// summary.proto.
const (
	eventWallTime    = 1 // double, seconds since 1970
	eventStep        = 2 // int64
	eventFileVersion = 3 // string
	eventSummary     = 5 // Summary
	eventSessionLog  = 7 // SessionLog

	sessionLogStatus = 1 // enum
	statusStart      = 1

	summaryValue     = 1 // repeated Value
	valueTag         = 1 // string
	valueSimpleValue = 2 // float
)

// events is one TensorBoard file. TensorBoard reads the files of a folder in the
// order of their names, and what one start of the run has written from one file.
type events struct{ file *file }

func newEvents(dir string, step int) (*events, error) {
	now := time.Now()
	name := fmt.Sprintf("events.out.tfevents.%010d.%09d", now.Unix(), now.Nanosecond())
	f, err := openFile(filepath.Join(dir, name), os.O_EXCL)
	if err != nil {
		return nil, err
	}
	e := &events{f}
	// The version is what makes TensorBoard heed START: it then hides what earlier
	// files hold at this step or later. The resumed step's own row must stay.
	head := record(event(step+1, eventFileVersion, []byte("brain.Event:2")))
	head = append(head, record(event(step+1, eventSessionLog, varint(nil, sessionLogStatus, statusStart)))...)
	if err := f.append(head); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return e, nil
}

// scalars appends the row as one event. TensorBoard keeps float32.
func (e *events) scalars(r Row) error {
	var summary []byte
	for _, v := range r.Values {
		value := field(nil, valueTag, []byte(v.Name))
		value = protowire.AppendTag(value, valueSimpleValue, protowire.Fixed32Type)
		value = protowire.AppendFixed32(value, math.Float32bits(float32(v.Value)))
		summary = field(summary, summaryValue, value)
	}
	return e.file.append(record(event(r.Step, eventSummary, summary)))
}

// event returns an Event of now, with one of its possible contents.
func event(step int, number protowire.Number, content []byte) []byte {
	seconds := float64(time.Now().UnixNano()) / 1e9
	b := protowire.AppendTag(nil, eventWallTime, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, math.Float64bits(seconds))
	return field(varint(b, eventStep, step), number, content)
}

// field appends a field of bytes, text or a message.
func field(b []byte, number protowire.Number, content []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), content)
}

func varint(b []byte, number protowire.Number, v int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), uint64(v))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// record frames data as TFRecord does: its length, both with their checksums.
func record(data []byte) []byte {
	length := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	b := binary.LittleEndian.AppendUint32(length, maskedCRC(length))
	b = append(b, data...)
	return binary.LittleEndian.AppendUint32(b, maskedCRC(data))
}

// maskedCRC is a CRC-32C, rotated and moved so that the checksum of data that
// holds checksums stays a good one.
func maskedCRC(data []byte) uint32 {
	crc := crc32.Checksum(data, castagnoli)
	return (crc>>15 | crc<<17) + 0xa282ead8
}
