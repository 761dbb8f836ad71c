/// A command of a SATA drive, written into a SCSI command that the kernel's libata, or a SAS adapter, translates back: ATA
/// PASS-THROUGH(16) of SAT-4, 12.2.2.
struct ATARegisters: Hashable {
  enum Transfer: Hashable {
    case none
    /// In sectors of 512 bytes; the count register says how many.
    case receive(sectors: UInt8)
  }

  var command: UInt8
  var features: UInt8 = 0
  /// Bits 0 to 23.
  var block: UInt32 = 0
  var transfer: Transfer = .none
  /// Whether the registers of the answer are wanted: they come as sense data of a command that did well.
  var wantsRegisters = false

  var passThrough: [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 16)
    bytes[0] = 0x85
    bytes[2] = wantsRegisters ? 0x20 : 0
    switch transfer {
    // The protocol: no data.
    case .none: bytes[1] = 3 << 1
    case .receive(let sectors):
      // Programmed transfer to the host, as many blocks as the count register says.
      bytes[1] = 4 << 1
      bytes[2] |= 0x0e
      bytes[6] = sectors
    }
    bytes[4] = features
    bytes[8] = UInt8(block & 0xff)
    bytes[10] = UInt8(block >> 8 & 0xff)
    bytes[12] = UInt8(block >> 16 & 0xff)
    bytes[14] = command
    return bytes
  }

  var data: CommandData {
    switch transfer {
    case .none: .none
    case .receive(let sectors): .receive(atMost: Int(sectors) * 512)
    }
  }
}

/// What a drive's registers hold after a command.
struct ATAAnswerRegisters: Hashable {
  var error: UInt8
  var status: UInt8
  /// Bits 0 to 23.
  var block: UInt32

  /// From sense data; nil: they hold no registers.
  init?(_ sense: SCSISense) {
    if let descriptor = sense.descriptor(0x09) {
      do throws(MalformedAnswer) {
        error = try descriptor.byte(1)
        status = try descriptor.byte(11)
        block =
          UInt32(try descriptor.byte(5)) | UInt32(try descriptor.byte(7)) << 8 | UInt32(try descriptor.byte(9)) << 16
      } catch {
        return nil
      }
      return
    }
    // The fixed format holds them only where it says so.
    guard sense.code == .ataInformationAvailable, sense.bytes.count >= 12 else { return nil }
    error = sense.bytes[3]
    status = sense.bytes[4]
    block = UInt32(sense.bytes[9]) | UInt32(sense.bytes[10]) << 8 | UInt32(sense.bytes[11]) << 16
  }
}
