"""For tests of what stands on a device: devices that fail, take their time, keep all in memory, or record what a power cut can leave."""
