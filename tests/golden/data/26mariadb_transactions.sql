analyze table shop.t;
xa start 'a'; insert into shop.t (id) values (77); xa end 'a'; xa prepare 'a'; xa commit 'a';
begin; insert into shop.m values (2); insert into shop.t(id) values(78); rollback;
create table shop.c as select * from shop.m; drop table shop.c;
