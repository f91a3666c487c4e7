module sampleosservice

go 1.19
