"""What command lines share: flags, devices, errors as one line, the command that goes on."""
