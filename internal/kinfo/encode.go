package kinfo

// Encode builds the record of a process, for tests of those who read it. The
// kernel's own start of a process that is being shown as executing is 0.
func (s *System) Encode(p Process) []byte {
	record := make([]byte, s.sizes[len(s.sizes)-1])
	s.write(record, s.fields.size, uint64(len(record)))
	s.write(record, field{s.fields.pid, 4}, uint64(p.PID))
	s.write(record, field{s.fields.parent, 4}, uint64(p.Parent))
	if p.Exited {
		s.write(record, s.fields.status, s.fields.zombie[0])
	}
	if p.Start != 0 {
		s.write(record, s.fields.valid, 1)
		s.write(record, s.fields.seconds, uint64(p.Start/1e6))
		s.write(record, s.fields.micros, uint64(p.Start%1e6))
	}
	return record
}

func (s *System) write(record []byte, f field, value uint64) {
	switch bytes := record[f.offset : f.offset+f.size]; f.size {
	case 1:
		bytes[0] = byte(value)
	case 4:
		s.order.PutUint32(bytes, uint32(value))
	case 8:
		s.order.PutUint64(bytes, value)
	}
}
