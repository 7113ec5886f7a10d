package metrics

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image/png"
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
	valueImage       = 4 // Image

	imageHeight     = 1 // int32
	imageWidth      = 2 // int32
	imageColorspace = 3 // int32
	imageEncoded    = 4 // bytes of a PNG file
	colorspaceRGB   = 3
)

// events is one TensorBoard file. TensorBoard reads the files of a folder in the order of
// their names; each start of a run writes one file.
type events struct{ file *file }

func newEvents(dir string, step int) (*events, error) {
	now := time.Now()
	name := fmt.Sprintf("events.out.tfevents.%010d.%09d", now.Unix(), now.Nanosecond())
	f, err := openFile(filepath.Join(dir, name), os.O_EXCL)
	if err != nil {
		return nil, err
	}
	e := &events{f}
	// With this version TensorBoard handles START: it hides the events of earlier files from
	// this step on. The row of the resumed step itself must stay visible.
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

// image appends a PNG file as an event.
func (e *events) image(step int, name string, file []byte) error {
	size, err := png.DecodeConfig(bytes.NewReader(file))
	if err != nil {
		return err
	}
	image := varint(varint(varint(nil, imageHeight, size.Height), imageWidth, size.Width), imageColorspace, colorspaceRGB)
	image = field(image, imageEncoded, file)
	value := field(field(nil, valueTag, []byte(name)), valueImage, image)
	return e.file.append(record(event(step, eventSummary, field(nil, summaryValue, value))))
}

// event returns an Event with the current time and one of its possible contents.
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

// record frames data as a TFRecord: length, data, and a checksum of each.
func record(data []byte) []byte {
	length := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	b := binary.LittleEndian.AppendUint32(length, maskedCRC(length))
	b = append(b, data...)
	return binary.LittleEndian.AppendUint32(b, maskedCRC(data))
}

// maskedCRC is TFRecord's masked CRC-32C. The mask keeps the checksum of data that contains
// checksums effective.
func maskedCRC(data []byte) uint32 {
	crc := crc32.Checksum(data, castagnoli)
	return (crc>>15 | crc<<17) + 0xa282ead8
}
