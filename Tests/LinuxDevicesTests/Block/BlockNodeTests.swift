import FakeDevices
import Testing

@testable import LinuxDevices

@Suite struct BlockNodeTests {
  private let kernel: FakeKernel
  private let inventory: BlockInventory

  init() throws {
    kernel = try FakeKernel()
    kernel.make("proc/self")
    kernel.put("Filename Type Size Used Priority", at: "proc/swaps")
    inventory = BlockInventory(kernel.sysfs, processes: "\(kernel.root)/proc")
  }

  private func addDisk(_ name: String, _ number: String, named bytes: [UInt8]? = nil) {
    let host = kernel.addHost(0, at: "devices/pci0000:00/0000:00:02.0", driver: "mptsas")
    var unit = FakeKernel.Unit("0:0:\(number.split(separator: ":")[1]):0", block: name)
    if let bytes { unit.name(bytes) }
    kernel.addUnit(unit, in: host)
    kernel.put(number, at: "class/block/\(name)/dev")
  }

  private func addPartition(_ name: String, of disk: String, _ number: Int, device: String) {
    let place = "class/block/\(disk)/\(name)"
    kernel.make("\(place)/holders")
    kernel.link("class/block/\(name)", to: place)
    for (attribute, value) in ["dev": device, "size": "2048", "partition": "\(number)", "ro": "0"] {
      kernel.put(value, at: "\(place)/\(attribute)")
    }
  }

  private let name: [UInt8] = [0x50, 0, 0xc5, 0, 0x11, 0x11, 0, 0x10]

  @Test func aDiskIsKnownByItsNameAndAPartitionByThatAndItsNumber() throws {
    addDisk("sda", "8:0", named: name)
    addPartition("sda3", of: "sda", 3, device: "8:3")
    let disk = try #require(inventory.node("sda"))
    #expect(disk.identity == "naa.5000c50011110010" && disk.kind == .disk)
    #expect(disk.sizeBytes == 1 << 30 && disk.logicalSectorBytes == 512 && disk.physicalSectorBytes == 4096)
    #expect(!disk.isReadOnly && !disk.isRemovable && disk.uses.isEmpty && disk.discardGranularityBytes == nil)
    let partition = try #require(inventory.node("sda3"))
    #expect(partition.identity == "naa.5000c50011110010-part3" && partition.kind == .partition(of: "sda", number: 3))
    #expect(partition.sizeBytes == 1 << 20 && partition.physicalSectorBytes == 4096)
    #expect(inventory.partitions(of: "sda") == ["sda3"])
    #expect(inventory.all().map(\.kernelName) == ["sda", "sda3"])
    #expect(inventory.node("sdb") == nil)
    // One function for either.
    #expect(BlockDevice.stableIdentity(kernelName: "sda3", sysfs: kernel.root) == partition.identity)
  }

  @Test func whoUsesADiskIsSaid() throws {
    addDisk("sda", "8:0")
    addDisk("sdb", "8:16")
    for number in 1...4 { addPartition("sda\(number)", of: "sda", number, device: "8:\(number)") }
    kernel.put("Filename Type Size Used Priority\n/dev/sda2 partition 1024 0 -2", at: "proc/swaps")
    kernel.put(
      """
      22 1 8:1 / /mnt/with\\040blank rw shared:1 - ext4 /dev/sda1 rw
      23 1 0:44 / /data rw - btrfs /dev/sda3 rw
      24 1 0:5 / /proc rw - proc proc rw
      broken
      """, at: "proc/self/mountinfo")
    kernel.make("class/block/sda4/holders/dm-0")
    kernel.make("class/block/dm-0/dm")
    kernel.put("mpath-36001405", at: "class/block/dm-0/dm/uuid")
    let uses = try #require(inventory.node("sda")).uses
    #expect(
      uses == [
        .mounted("sda1", at: "/mnt/with blank"), .swap("sda2"), .mounted("sda3", at: "/data"),
        .held("sda4", by: "dm-0", kind: "mpath"),
      ])
    #expect(uses.map(\.isMultipath) == [false, false, false, true])
    #expect(uses.map(\.description).first == "sda1 is mounted at /mnt/with blank")
    #expect(try #require(inventory.node("sda2")).uses == [.swap("sda2")])
    #expect(try #require(inventory.node("sdb")).uses.isEmpty)
  }

  @Test func aNamespaceIsKnownByItsNGUIDRatherThanByAUUIDThatMayBeNew() {
    kernel.make("class/block/nvme0n1/queue")
    kernel.put("259:0", at: "class/block/nvme0n1/dev")
    kernel.put("2048", at: "class/block/nvme0n1/size")
    kernel.put("01020304-0506-0708-090a-0b0c0d0e0f10", at: "class/block/nvme0n1/uuid")
    #expect(inventory.node("nvme0n1")?.identity == "uuid.01020304-0506-0708-090a-0b0c0d0e0f10")
    kernel.put("00250000-0000-0000-0000-000000000001", at: "class/block/nvme0n1/nguid")
    #expect(inventory.node("nvme0n1")?.identity == "eui.00250000000000000000000000000001")
  }

  @Test func whatHasNoNameHasNoIdentity() throws {
    addDisk("sda", "8:0")
    #expect(try #require(inventory.node("sda")).identity == nil)
    kernel.put("VB 1234/5", at: "class/block/sda/serial")
    #expect(try #require(inventory.node("sda")).identity == "vb-12345")
  }

  @Test func mappedAndLoopDevicesSayWhatTheyAre() throws {
    for (name, number) in [("dm-0", "253:0"), ("loop0", "7:0")] {
      kernel.make("class/block/\(name)/\(name == "loop0" ? "loop" : "dm")")
      kernel.put(number, at: "class/block/\(name)/dev")
      kernel.put("8", at: "class/block/\(name)/size")
    }
    kernel.put("data", at: "class/block/dm-0/dm/name")
    kernel.put("/var/disk.img", at: "class/block/loop0/loop/backing_file")
    #expect(inventory.node("dm-0")?.kind == .mapped("data"))
    #expect(inventory.node("loop0")?.kind == .loop(backing: "/var/disk.img"))
  }

  @Test func thisMachinesOwnDisksAreReadWithoutAnError() {
    for node in BlockInventory().all() { #expect(node.logicalSectorBytes >= 512) }
  }
}
